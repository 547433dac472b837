"""How long a step would take: what was counted, divided by what the hardware is sold as. A prediction, never a measurement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from trainer.plan.simulate import Figures

PRODUCTS, TRAFFIC = (
    0.7,
    0.8,
)  # shares of the peak that large matrix products, and copies and collectives, are taken to reach
LATENCY = 20e-6  # s a collective, before anything arrives
INSIDE = ("tp", "cp")  # dimensions whose exchanges a block waits for; others go on beside computing


@dataclass(frozen=True)
class Gpu:
    """One line of ``gpus.json``: TFLOP/s by format, GiB of memory, GB/s to memory, to GPUs of the node, to other nodes."""

    bf16: float
    fp32: float
    fp8: float
    memory: float
    hbm: float
    inside: float
    outside: float


@dataclass(frozen=True)
class Traffic:
    """One row of a step's communication: calls, bytes that a process sends, predicted seconds."""

    kind: str
    over: str
    processes: int
    calls: int
    sent: int
    seconds: float


@dataclass(frozen=True)
class Times:
    """Predicted seconds of a step.

    products, others, update    matrix products, all other operations, the optimizer
    waited, beside              communication that computing waits for, and that goes on beside it
    """

    products: float
    others: float
    update: float
    waited: float
    beside: float

    @property
    def best(self) -> float:
        """If all communication that can go on beside computing does."""
        return max(self.products + self.others, self.beside) + self.waited + self.update

    @property
    def worst(self) -> float:
        """If none does."""
        return self.products + self.others + self.beside + self.waited + self.update


def gpus() -> dict[str, Gpu]:
    """All GPUs whose figures are known, by name."""
    table = json.loads(Path(__file__).with_name("gpus.json").read_text(encoding="utf-8"))
    return {name: Gpu(**figures) for name, figures in table.items() if name != "about"}


def traffic(figures: Figures, gpu: Gpu, sizes: Mapping[str, int], local: int) -> list[Traffic]:
    """The communication of a step by kind and dimension of the mesh, most bytes first. ``local``: GPUs a node.

    A group in several nodes brings its data in through the network cards of all its GPUs of a node together.
    """
    found = []
    for (kind, ranks), sent in figures.seen.sent.items():
        beside = sum(rank // local == ranks[0] // local for rank in ranks)
        seconds = sent / (gpu.inside * 1e9 * TRAFFIC) if beside > 1 else 0.0
        if beside < len(ranks):
            seconds = max(seconds, sent / (gpu.outside * 1e9 * TRAFFIC * beside))
        calls = figures.seen.calls[kind, ranks]
        found.append(Traffic(kind, _over(ranks, sizes), len(ranks), calls, sent, seconds + calls * LATENCY))
    return sorted(found, key=lambda row: -row.sent)


def predict(figures: Figures, gpu: Gpu, rows: list[Traffic], dtype: str) -> Times:
    """The seconds of a step. ``dtype``: of ``precision``; under fp8 all products in half a format count as of eight bits."""
    narrow = gpu.fp8 if dtype == "fp8" else gpu.bf16
    rates = {"bfloat16": narrow, "float16": narrow, "float32": gpu.fp32, "float64": gpu.fp32 / 2}
    products = sum(n / (rates[kind] * 1e12 * PRODUCTS) for (_, kind), n in figures.seen.flops.items())
    memory = gpu.hbm * 1e9 * TRAFFIC
    update = 2 * figures.bytes("weights", "optimizer") + figures.bytes("gradients")
    waited = sum(row.seconds for row in rows if row.over in INSIDE)
    beside = sum(row.seconds for row in rows if row.over not in INSIDE)
    return Times(products, sum(figures.seen.moved.values()) / memory, update / memory, waited, beside)


def _over(ranks: tuple[int, ...], sizes: Mapping[str, int]) -> str:
    """The dimensions of the mesh along which these processes differ."""
    places = list(product(*(range(size) for size in sizes.values())))
    differ = [name for i, name in enumerate(sizes) if len({places[rank][i] for rank in ranks}) > 1]
    return " x ".join(differ)
