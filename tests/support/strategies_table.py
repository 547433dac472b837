"""The documentation's table of how far several processes are from one, made from the results of the tests.

python -m pytest tests/equivalence/test_grid.py --junitxml=strategies.xml
python -m tests.support.strategies_table strategies.xml
"""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

FOLDER = Path(__file__).parents[2] / "docs/reference"
RESULTS, PAGE = FOLDER / "strategies.json", FOLDER / "strategies.md"
COMMANDS = __doc__.strip().splitlines()[2:]
RENEW = "to renew the table in docs/reference: " + " && ".join(COMMANDS)
MODELS = ("bert", "gpt2", "llama", "t5", "vit")
FORMATS = {"float64": 1e-9, "fp32": 1e-4, "bf16": 0.02, "bf16_pure": 0.02}  # each with the largest difference allowed
PLACES = {  # a strategy and its number of processes: its options
    ("ddp", 2): {}, ("fsdp", 2): {}, ("tp", 2): {}, ("cp", 2): {}, ("pp", 2): {},
    ("deepspeed_zero1", 2): {}, ("deepspeed_zero2", 2): {}, ("deepspeed_zero3", 2): {},
    ("ddp", 4): {}, ("fsdp", 4): {}, ("hsdp", 4): {"replicas": 2}, ("tp", 4): {}, ("fsdp_tp", 4): {"tp": 2},
    ("cp", 4): {"cp": 2}, ("pp_fsdp", 4): {"pp": 2},
}  # fmt: skip
ABSENT = {  # why others have none: models, strategies
    "they divide the processes twice, and two cannot be": ("all", "`hsdp`, `fsdp_tp` and `pp_fsdp` of 2"),
    "batch normalisation is by the rows that a process has: only its averages are joined": (
        "resnet",
        "all that divide a batch",
    ),
}
NOTHING = "–"
WAYS = list(product((1, 2), ("padded", "unpadded"), ("none", "full")))  # accumulate, layout, activations


class Cell(NamedTuple):
    """One training of two steps under a strategy."""

    strategy: str
    world: int
    model: str
    accumulate: int
    layout: str
    activations: str
    dtype: str
    options: dict[str, Any]

    @property
    def training(self) -> str:
        """What of it matters to one process."""
        return f"{self.model}-{self.accumulate}-{self.layout}-{self.activations}-{self.dtype}"

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.strategy}-{self.world}-{self.training}"

    @property
    def exact(self) -> bool:
        """Whether weights are compared beside losses: where every number has digits enough for it."""
        return self.dtype == "float64"


def why_not(cell: Cell) -> str | None:
    """Why a cell cannot be, if so."""
    if cell.model == "vit" and cell.layout == "unpadded":
        return "all images have as many patches: there is nothing to pad, and no unpadded batch"
    if cell.model == "t5" and cell.layout == "unpadded":
        return "T5 takes no unpadded batches: its biases are of distances within one row"
    if cell.model == "llama" and cell.strategy == "tp" and cell.world == 4:
        return (
            "two key/value heads are not divided among four processes; the run is refused, tp=2 and fsdp_tp are legal"
        )
    if cell.model == "t5" and cell.strategy.startswith("pp"):
        return "a pipeline is cut at one stack of blocks, T5 has two: the run is refused"
    if cell.strategy.startswith("deepspeed") and cell.dtype not in ("fp32", "bf16"):
        return "DeepSpeed is given weights in fp32 alone: it is compared in fewer digits"
    return None


def cells() -> list[Cell]:
    """Every cell of both tables."""
    large = [
        Cell(strategy, world, model, *way, "float64", options)
        for (strategy, world), options in PLACES.items()
        for model in MODELS
        for way in WAYS
    ]
    small = [
        Cell(strategy, world, "gpt2" if (strategy, world) == ("tp", 4) else "llama", *WAYS[0], dtype, options)
        for (strategy, world), options in PLACES.items()
        for dtype in list(FORMATS)[1:]
    ]
    return large + small


def results() -> dict[str, float]:
    """The committed results: the largest difference of each cell that can be."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def read(reports: list[str]) -> dict[str, float]:
    """The committed results, and over them those in reports of test runs; exits where a cell is missing or too far off."""
    found = results() if RESULTS.exists() else {}
    for entry in (entry for report in reports for entry in ElementTree.parse(report).iter("property")):
        if entry.get("name") == "differences":
            found |= json.loads(entry.get("value"))
    wanted = {cell.key: FORMATS[cell.dtype] for cell in cells() if why_not(cell) is None}
    wrong = [f"{key}: {found.get(key, 'not run')}" for key, most in wanted.items() if not found.get(key, most) < most]
    if wrong:
        sys.exit("nothing is written while these are not there or too far off\n" + "\n".join(wrong))
    return {key: float(f"{found[key]:.1e}") for key in wanted}


def page(found: dict[str, float]) -> str:
    """The page of the documentation that these results make."""
    large, compact, reasons = {}, {}, {}
    for cell in cells():
        place = (str(cell.world), f"`{cell.strategy}`", cell.model)
        (large if cell.dtype == "float64" else compact).setdefault(place, []).append(_said(cell, found))
        if why := why_not(cell):
            models, places = reasons.setdefault(why, ({}, {}))
            models[cell.model] = places[f"`{cell.strategy}` of {cell.world}"] = True
    where = ["processes", "strategy", "model"]
    cannot = [
        [why, ", ".join(models), "all" if len(places) == len(PLACES) else ", ".join(places)]
        for why, (models, places) in reasons.items()
    ]
    cannot += [[why, *those] for why, those in ABSENT.items()]
    ways = [f"{a}, {layout}" + (", again" if again == "full" else "") for a, layout, again in WAYS]
    parts = [
        HEAD,
        table([*where, *ways], [[*place, *its] for place, its in large.items() if {*its} != {NOTHING}]),
        "## In fewer digits",
        FEWER,
        table(
            [*where, *(f"`{dtype}`" for dtype in list(FORMATS)[1:])], [[*place, *its] for place, its in compact.items()]
        ),
        "## What cannot be",
        table(["why", "model", "strategy, of so many processes"], cannot),
    ]
    return "\n\n".join(parts) + "\n"


def _said(cell: Cell, found: dict[str, float]) -> str:
    return NOTHING if why_not(cell) else f"{found[cell.key]:.0e}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


HEAD = f"""# How far several processes are from one

Every strategy trains small models for two steps in float64, on two and on four processes, and is compared with one process
that trains on the same rows. A number is the largest difference of any loss, norm of a gradient or final weight (in
proportion, where the value is larger than one); the test asks for less than {FORMATS["float64"]:.0e}. Clipping, AdamW with
weight decay, rows that processes do not share evenly and a micro batch of one row are part of each. The columns: micro
batches a step, the layout of a batch, and *again* where every block computes its activations again
(`memory.activations=full`). A dash is a cell that cannot be; why stands at the end. The page is made from the results of the
tests, and a test compares it with them: nothing here is written by hand.
[What the strategies do](../explanation/architecture.md).

```sh
{COMMANDS[0]}
{COMMANDS[1]}
```"""
FEWER = f"""The same for one model with weights in fp32, losses and norms alone: an optimizer that divides a gradient by its own
size makes a step of a number that is nothing but rounding. Differences are below {FORMATS["fp32"]:.0e} in fp32, and below
{FORMATS["bf16"]:.0e} in bf16, which has three digits."""


def main(reports: list[str]) -> None:
    """Write the results in reports, and the page that they make."""
    if not reports:
        sys.exit(f"give the report of a test run: {COMMANDS[0]}")
    found = read(reports)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
