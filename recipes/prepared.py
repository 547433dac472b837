"""What a recipe makes of a configuration, ready for the trainer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import nn

from trainer.console import percent
from trainer.data.batches import BatchPlan
from trainer.data.blocks import Blocks
from trainer.data.collate import Collate, Field
from trainer.data.dataset import Dataset
from trainer.data.loader import Change, Loader
from trainer.data.shards import Shards
from trainer.options import BatchOptions
from trainer.preflight import Checks
from trainer.task import Task

Say = Callable[[str], None]


class Processor(Protocol):
    """A tokenizer, or what stands in its place: it goes with the model wherever that is saved."""

    def save(self, folder) -> None:
        """Write its files in the published layout."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Model, task and data of one run.

    evals      name of a measurement -> its examples; the first decides which model is best
    about      what the task asks
    source     where the examples are from
    weights    where the weights are from, and what the processor is
    use        command that applies the saved model, with {folder} for the place where it is
    """

    model: nn.Module
    task: Task
    processor: Processor
    train: Loader
    evals: Mapping[str, Loader]
    checks: Checks
    about: str
    source: str
    weights: str
    use: str


def feed(
    data: Dataset | Blocks | Shards,
    fields: Sequence[Field],
    options: BatchOptions,
    seed: int | None,
    change: Change | None = None,
) -> Loader:
    """Batches of the features ``fields``; ``seed`` None gives them in order, for evaluation.

    ``change``: what is done to the features anew in each epoch, see :class:`trainer.data.loader.Loader`.
    """
    order = data.order(seed) if isinstance(data, Shards) else None
    return Loader(
        data, BatchPlan(data.lengths, options, seed, order=order), Collate(tuple(fields), options), change=change
    )


def describe_data(made: Prepared) -> str:
    """Rows, lengths and the share of padding, counted on the prepared examples."""
    plan, sizes = made.train.plan, made.train.plan.lengths
    parts = [f"{len(sizes):,} train"] + [f"{len(feed.dataset):,} {name}" for name, feed in made.evals.items()]
    if getattr(made.train.dataset, "streamed", False):
        return f"{' / '.join(parts)}   {made.source}   lengths and padding known as the rows are read"
    widest = plan.options.max_length
    return "   ".join(
        [
            f"{' / '.join(parts)}   {made.source}",
            f"mean {sizes.mean():.0f} tok, p99 {np.quantile(sizes, 0.99):.0f}",
            f"padding if padded to {widest}: {percent(1 - sizes.mean() / widest)}, ours ({plan.options.layout}): "
            f"{percent(plan.padding(0))}",
        ]
    )
