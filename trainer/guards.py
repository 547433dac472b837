"""What is done about losses that are not finite and about memory that runs out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.console import size as bytes_text
from trainer.step import Outcome, size_of
from trainer.task import Batch


class Reading(NamedTuple):
    """One optimizer step as numbers; ``rows`` are the examples of its batch."""

    step: int
    loss: float
    norm: float
    skipped: bool
    rows: Sequence[Tensor]

    def ids(self, most: int = 32) -> list[int]:
        """The first examples of the batch."""
        return torch.cat([r.flatten() for r in self.rows])[:most].tolist()


class Meter:
    """Keeps outcomes on the device until ``read``: on a GPU each early look would stop the queue of work."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, Sequence[Tensor]]] = []
        self._scalars: list[Tensor] = []

    def push(self, step: int, outcome: Outcome, rows: Sequence[Tensor]) -> None:
        """Note the outcome of optimizer step number ``step``."""
        self._steps.append((step, rows))
        self._scalars.append(torch.stack([scalar.double() for scalar in outcome]))

    def read(self) -> list[Reading]:
        """All outcomes since the last call, oldest first; waits for the device once."""
        if not self._steps:
            return []
        values = torch.stack(self._scalars).tolist()
        readings = [Reading(n, loss, norm, bool(s), rows) for (n, rows), (loss, norm, s) in zip(self._steps, values)]
        self._steps, self._scalars = [], []
        return readings


def serious(reading: Reading, dtype: str) -> bool:
    """Whether a skipped step points at the model or the data. With fp16 an infinite gradient of a finite loss is how
    the scaler finds its scale."""
    return reading.skipped and (dtype != "fp16" or not math.isfinite(reading.loss))


def hopeless(reading: Reading, why: str, resume: str) -> str:
    """The message of a loss that stays non-finite."""
    return (
        f"the loss stays non-finite at step {reading.step:,} (loss {reading.loss:g}, gradient norm {reading.norm:g}) and "
        f"{why}. Examples of the last batch: rows {', '.join(map(str, reading.ids(8)))}\n"
        "   look at those rows, lower optim.lr, set train.clip, lengthen schedule.warmup or use precision.dtype=fp32\n"
        f"   the last checkpoint is intact: {resume}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, or Python itself, could not get the memory it asked for."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def out_of_memory(step: int, micros: Sequence[Batch], device: torch.device, peak: int) -> str:
    """The one message of memory that ran out: where, on what batch, and the knobs, largest effect first."""
    widest = max(map(size_of, micros), key=lambda s: s.slots, default=None)
    what = f" on a micro batch of {widest.examples:,} examples, {widest.slots:,} positions" if widest else ""
    limit = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    of = f" of {bytes_text(limit)}" if limit else ""
    return (
        f"out of memory on {device} after step {step:,}{what}; peak {bytes_text(peak)}{of}\n"
        "   lower batch.tokens (or batch.size) and raise batch.accumulate by the same factor: the result stays the same\n"
        "   or cut sequences shorter (batch.max_length), or use precision.dtype=bf16"
    )
