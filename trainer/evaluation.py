"""Evaluation and prediction: every row once, metrics as a stream, nothing kept but what the metrics keep."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from trainer import rng
from trainer.errors import DataError
from trainer.step import passes, to_device, widened, without
from trainer.strategies.base import Strategy
from trainer.task import Batch, Feed, Task


class Evaluated(NamedTuple):
    """Metrics, ``loss`` among them, over so many rows."""

    metrics: dict[str, float]
    rows: int


@contextmanager
def aside(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients, after which mode and random generators are as before.

    ``no_grad`` and not ``inference_mode``: a table that a model caches here must be usable in the next training step.
    """
    was_training, generators = model.training, rng.state(device)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
        rng.load(generators, device)


def evaluate(
    model: nn.Module, task: Task, feed: Feed, strategy: Strategy, poll: Callable[[], None] = lambda: None
) -> Evaluated:
    """Metrics of ``model`` over all rows of ``feed``.

    ``poll`` is called before each batch and may raise to leave early. Raises :class:`DataError` when the feed leaves
    out a row or gives one twice, for then no figure would be that of the data set.
    """
    feed.share(*strategy.shard_of_batch())
    seen = np.zeros(len(feed.dataset), dtype=np.int64)

    def counted() -> Iterator[Batch]:
        for batch in batches(feed):
            poll()
            np.add.at(seen, batch["rows"].numpy(), 1)
            yield batch

    found = measure(model, task, counted(), strategy, feed)
    check_rows(total_rows(seen, strategy))
    return found


def measure(model: nn.Module, task: Task, some: Iterable[Batch], strategy: Strategy, feed: Feed) -> Evaluated:
    """Metrics of ``model`` over the batches given, some of ``feed``: each process gives its shares of the same ones."""
    metrics, sums, rows = task.new_metrics(), {}, 0
    with aside(model, strategy.device):
        for batch in some:
            rows, counts = rows + len(batch["rows"]), task.counts(model, batch)
            for name, count in counts.items():
                total, before = sums.get(name, (0.0, 0.0))
                sums[name] = (total, before + float(count))
            for computed, counted in passes([batch], strategy, feed):
                computed = to_device(computed, strategy.device)
                with strategy.precision.autocast():
                    found = strategy.forward(partial(task.terms, batch=computed))
                if not (counted and strategy.ends):
                    continue
                output, terms = found
                metrics.update(output, computed)
                for name, term in terms.items():
                    total, count = sums[name]
                    sums[name] = (total + term.weight * widened(term.total).double(), count)
    numbers = [float(number) for name in sorted(sums) for number in sums[name]]
    *numbers, rows = strategy.total(torch.tensor([*numbers, rows], dtype=torch.float64)).tolist()
    loss = sum(total / max(count, 1.0) for total, count in zip(numbers[::2], numbers[1::2]))
    if strategy.world > 1:
        said = strategy.gather((strategy.shard_of_batch()[0], strategy.ends, metrics.state()))
        metrics.merge([*{index: state for index, ends, state in said if ends}.values()])  # one of each share
    return Evaluated({"loss": loss, **metrics.compute()}, int(rows))


def predict(model: nn.Module, task: Task, feed: Feed, strategy: Strategy) -> list[Any]:
    """The task's prediction for every row of ``feed``, in the order of the data set."""
    feed.share(*strategy.shard_of_batch())
    answers: dict[int, Any] = {}
    seen = np.zeros(len(feed.dataset), dtype=np.int64)
    with aside(model, strategy.device):
        for batch in batches(feed):
            for computed, counted in passes([batch], strategy, feed):
                inputs = to_device(without(computed, task.targets), strategy.device)
                with strategy.precision.autocast():
                    found = strategy.forward(partial(task.predict, batch=inputs))
                if not (counted and strategy.ends):
                    continue
                if len(found) != len(computed["rows"]):
                    raise DataError(f"the task gave {len(found)} predictions for {len(computed['rows'])} rows")
                np.add.at(seen, computed["rows"].numpy(), 1)
                answers.update(zip(computed["rows"].tolist(), found))
    check_rows(total_rows(seen, strategy))
    whole = {row: answer for share in strategy.gather(answers) for row, answer in share.items()}
    return [whole[row] for row in range(len(seen))]


def batches(feed: Feed) -> Iterator[Batch]:
    """The micro batches of one pass."""
    for micros in feed.epoch(0):
        yield from micros


def total_rows(seen: np.ndarray, strategy: Strategy) -> np.ndarray:
    """How often each row was seen by all processes together."""
    return strategy.total(torch.from_numpy(seen)).numpy()


def check_rows(seen: np.ndarray) -> None:
    """Raise unless every row was seen exactly once."""
    if (seen != 1).any():
        row = int(np.flatnonzero(seen != 1)[0])
        raise DataError(
            f"evaluation met {int((seen > 0).sum()):,} of {len(seen):,} rows and {int((seen > 1).sum()):,} of them more "
            f"than once (row {row}: {int(seen[row])} times); an evaluation feed gives every row exactly once"
        )
