"""One optimizer step over its micro batches, with the loss of the whole batch however it is split."""

from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.running import Running
from trainer.strategies.base import Strategy
from trainer.task import Batch, Feed, Task

ON_CPU = ("lengths", "rows")  # read as Python numbers: on a device they would make every step wait


class Size(NamedTuple):
    """What a batch holds: examples, real tokens, and computed positions (tokens and padding)."""

    examples: int
    tokens: int
    slots: int


class Outcome(NamedTuple):
    """Scalars on the device: the loss of the global batch, the norm of its gradient, and 1.0 where either is not finite."""

    loss: Tensor
    norm: Tensor
    skip: Tensor


def size_of(batch: Batch) -> Size:
    """Sizes of a CPU batch: from ``lengths`` where it is unpadded, else from its mask, else from its widest tensor."""
    examples = len(batch["rows"])
    widest = max((t.numel() for key, t in batch.items() if t.dim() > 1 and not t.is_floating_point()), default=examples)
    if "lengths" in batch:
        return Size(examples, int(batch["lengths"].sum()), widest)
    if "attention_mask" in batch:
        return Size(examples, int(batch["attention_mask"].sum()), batch["attention_mask"].numel())
    return Size(examples, widest, widest)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch as the model takes it: on ``device``, without the bookkeeping column ``rows``."""
    return {
        key: tensor if key in ON_CPU else tensor.to(device, non_blocking=True)
        for key, tensor in batch.items()
        if key != "rows"
    }


def without(batch: Batch, keys: Container[str]) -> Batch:
    """The batch less the columns ``keys``."""
    return {key: tensor for key, tensor in batch.items() if key not in keys}


def passes(micros: Iterable[Batch], strategy: Strategy, feed: Feed) -> Iterator[tuple[Batch, bool]]:
    """What this process runs through the model of its shares ``micros``, each with whether it counts.

    Nothing is computed for an empty share, unless the strategy needs each pass of all processes: there a row of ``feed``
    takes its place, and counts for nothing.
    """
    for micro in micros:
        if len(micro["rows"]):
            yield micro, True
        elif strategy.lockstep:
            yield feed.one(), False


class Stepper:
    """Computes steps of one model under one strategy.

    Every term of the loss is the sum over its targets divided by their number in the GLOBAL batch, known before the
    first forward pass. Micro batches, accumulation and processes only change the order of the additions.
    """

    def __init__(self, model: nn.Module, task: Task, strategy: Strategy, clip: float | None, feed: Feed | None = None):
        self.model, self.task, self.strategy, self.clip, self.feed = model, task, strategy, clip, feed
        self.size = Size(0, 0, 0)  # of the last global batch
        self.running = Running(model, strategy)

    def counts(self, micros: list[Batch]) -> dict[str, float]:
        """Targets of each term in the global batch; at least 1, so that a term without targets is 0 and not NaN.

        Notes the ``size`` of that batch in the same exchange between processes.
        """
        each = [self.task.counts(self.model, micro) for micro in micros]
        names = sorted({name for counts in each for name in counts})
        sums = [[*size_of(m), *(float(counts.get(name, 0)) for name in names)] for m, counts in zip(micros, each)]
        examples, tokens, slots, *totals = self.strategy.total(torch.tensor(sums, dtype=torch.float64).sum(0)).tolist()
        self.size = Size(int(examples), int(tokens), int(slots))
        return {name: max(count, 1.0) for name, count in zip(names, totals)}

    def gradients(self, micros: list[Batch]) -> Tensor:
        """Forward and backward over the micro batches; the loss of the global batch, gradients in the parameters."""
        counts = self.counts(micros)
        computed = list(passes(micros, self.strategy, self.feed))

        def loss(model: nn.Module, i: int) -> Tensor:
            micro, counted = computed[i]
            self.running.listen(counted)  # until the next pass: a block may be computed again
            with self.strategy.precision.autocast():
                _, terms = self.task.terms(model, to_device(micro, self.strategy.device))
            part = sum(term.weight * widened(term.total) / counts[name] for name, term in terms.items())
            return part if counted else 0.0 * part

        losses = self.strategy.accumulate(len(computed), loss)
        self.strategy.reduce()
        self.running.join(sum(len(micro["rows"]) for micro in micros))
        return self.strategy.total(sum(losses, torch.zeros((), dtype=torch.float64, device=self.strategy.device)))

    def __call__(self, micros: list[Batch], lr: float) -> Outcome:
        """One optimizer step at rate ``lr``; a loss or gradient that is not finite changes no weight."""
        loss = self.gradients(micros)
        norm = self.strategy.clip(self.clip)
        skip = (~(loss.isfinite() & norm.isfinite())).float()
        self.strategy.update(lr, skip)
        return Outcome(loss, norm, skip)


def widened(total: Tensor) -> Tensor:
    """A sum over targets in at least fp32: half formats count to 2,048 or lose digits beyond 256."""
    return total.float() if total.dtype in (torch.float16, torch.bfloat16) else total
