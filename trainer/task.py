"""The two things the loop is given: a task, which knows model and labels, and a feed, which makes batches."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

Batch = dict[str, Tensor]  # published forward names, and "rows" int64 [n]: the examples in the batch, in its order


class TermLike(Protocol):
    """One part of a loss: the sum over its targets, how many there are, and the weight of its mean in the whole."""

    total: Tensor
    count: Tensor | float
    weight: float


class Metrics(Protocol):
    """Streaming metrics of one evaluation: fed batch by batch, never holding all logits."""

    def update(self, output: Any, batch: Batch) -> None:
        """Add one batch; ``output`` is what the task's forward returned."""

    def compute(self) -> dict[str, float]:
        """The metrics over all rows seen since the last reset."""

    def reset(self) -> None:
        """Forget all rows."""

    def state(self) -> Any:
        """What was kept of the rows seen, to be sent to other processes."""

    def merge(self, states: Sequence[Any]) -> None:
        """Become what one process that saw all rows behind ``states`` would be; the own state is among them."""


class Task(Protocol):
    """What a recipe tells the loop about its model and labels."""

    targets: Sequence[str]  # the keys of a batch that are labels; predict is not given them
    best: tuple[str, str]  # the metric that decides, and "max" or "min"

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The number of real targets of each term, from the labels alone (a CPU batch, before any forward pass)."""

    def terms(self, model: nn.Module, batch: Batch) -> tuple[Any, Mapping[str, TermLike]]:
        """One forward pass: the model's output and the parts of its loss, as sums."""

    def new_metrics(self) -> Metrics:
        """Fresh metrics for one evaluation."""

    def predict(self, model: nn.Module, batch: Batch) -> Sequence[Any]:
        """One forward pass without labels: the answer for each example of the batch, in its order."""


class Feed(Protocol):
    """A source of batches whose order is a pure function of the epoch and the step."""

    dataset: Any  # a trainer.data.dataset.Dataset, or what has its len(), [i], rows(ids) and where(i)
    identity: str  # a hash of all that decides which row is in which step

    def steps(self, epoch: int) -> int:
        """Optimizer steps in that epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Generator[list[Batch], None, None]:
        """One item an optimizer step, its micro batches, from step ``start`` of the epoch on, without a replay."""

    def worst(self) -> Batch | None:
        """The micro batch with the most computed positions, where it is known."""

    def one(self) -> Batch:
        """A micro batch of one row, the same each time: what a process without a share computes in place of it."""

    def share(self, index: int, of: int) -> None:
        """From now on hand out this share of every micro batch; one with fewer rows than shares leaves some empty."""
