"""What is looked at before the first step, so that a run fails in seconds and not after hours."""

import resource
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from trainer import rng
from trainer.errors import DataError
from trainer.evaluation import aside, measure
from trainer.step import Stepper, passes, size_of, to_device, without
from trainer.strategies.base import Strategy
from trainer.task import Batch, Feed, Task

CHUNK = 4096  # rows read at a time


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What the recipe knows of its data; ``None`` leaves a check out.

    vocab      token ids of column ``ids`` are below it
    special    name -> id of tokens that some example has to hold: those that begin and end a text
    classes    labels are integers below it, or ``ignore``; ``None`` for regression: labels are finite
    max_empty  the largest share of examples that may be without any target
    decode     features of an example -> text, for those that are printed (``train.show``)
    """

    vocab: int | None = None
    special: Mapping[str, int] = field(default_factory=dict)
    ids: str = "input_ids"
    labels: str = "labels"
    classes: int | None = None
    ignore: int = -100
    max_empty: float = 0.01
    decode: Callable[[dict[str, Any]], str] = str


class Labels(NamedTuple):
    """What was counted: rows, those without a target, the largest token id, and how often each class stands."""

    rows: int
    empty: int
    top_id: int
    classes: Counter


def check_rows(dataset: Any, checks: Checks) -> Labels:
    """Read every row of ``dataset`` once, of a streamed one the first few thousand. Raises :class:`DataError` naming the
    first row that cannot be trained on."""
    if not len(dataset):
        raise DataError("the training data has no rows")
    looked_at = min(len(dataset), CHUNK) if getattr(dataset, "streamed", False) else len(dataset)
    empty, top_id, classes, absent = 0, -1, Counter(), dict(checks.special)
    for start, columns in _chunks(dataset, looked_at):
        if checks.vocab is not None and checks.ids in columns:
            top_id = max(top_id, _check_ids(dataset, start, columns[checks.ids], checks))
        if absent:
            held = np.unique(_flat(columns[checks.ids])[0])
            absent = {name: token for name, token in absent.items() if token not in held}
        if checks.labels in columns:
            values, owner = _flat(columns[checks.labels])
            _check_labels(dataset, start, values, owner, checks)
            real = values != checks.ignore
            empty += len(columns[checks.labels]) - len(np.unique(owner[real]))
            if checks.classes is not None:
                classes.update(dict(zip(*(a.tolist() for a in np.unique(values[real], return_counts=True)))))
    if empty > checks.max_empty * looked_at:
        raise DataError(
            f"{empty:,} of {looked_at:,} examples have no target: "
            f"every label in their column '{checks.labels}' is {checks.ignore}. The model would learn nothing from them; "
            "look at the label column, or cut less (batch.max_length)"
        )
    if absent:
        raise DataError(
            f"no example holds {' nor '.join(f'{name} (token id {token})' for name, token in absent.items())}, which the "
            "model was trained with: the tokenizer does not add it. Use the tokenizer of the checkpoint (model.tokenizer)"
        )
    return Labels(looked_at, empty, top_id, classes)


def _chunks(dataset: Any, count: int) -> Iterator[tuple[int, dict[str, list]]]:
    for start in range(0, count, CHUNK):
        rows = dataset.rows(range(start, min(start + CHUNK, count)))
        yield start, {key: [row[key] for row in rows] for key in rows[0]}


def _flat(column: list) -> tuple[np.ndarray, np.ndarray]:
    """All values of a column in one array, and for each the row it is in."""
    arrays = [np.atleast_1d(np.asarray(value)).ravel() for value in column]
    return np.concatenate(arrays), np.repeat(np.arange(len(arrays)), [len(a) for a in arrays])


def _named(dataset: Any, row: int) -> str:
    return f"row {row} ({dataset.where(row)})" if hasattr(dataset, "where") else f"row {row}"


def _check_ids(dataset: Any, start: int, column: list, checks: Checks) -> int:
    values, owner = _flat(column)
    wrong = np.flatnonzero((values < 0) | (values >= checks.vocab))
    if len(wrong):
        at = wrong[0]
        raise DataError(
            f"token id {values[at]} in {_named(dataset, start + int(owner[at]))}, column '{checks.ids}', is outside the "
            f"model's vocabulary of {checks.vocab:,}: tokenizer and model do not belong together. "
            "Use the tokenizer of the checkpoint, or set model.config.vocab"
        )
    return int(values.max(initial=-1))


def _check_labels(dataset: Any, start: int, values: np.ndarray, owner: np.ndarray, checks: Checks) -> None:
    if checks.classes is None:
        wrong, expected = np.flatnonzero(~np.isfinite(values.astype(float))), "a finite number"
    else:
        beyond = (values != checks.ignore) & ~((values >= 0) & (values < checks.classes) & (values % 1 == 0))
        wrong, expected = np.flatnonzero(beyond), f"a class from 0 to {checks.classes - 1}, or {checks.ignore} for none"
    if len(wrong):
        at = wrong[0]
        raise DataError(
            f"label {values[at]} in {_named(dataset, start + int(owner[at]))}, column '{checks.labels}', is not {expected}. "
            "Correct the row, or give the head as many labels as the data has"
        )


def balance(classes: Counter, total: int = 6) -> str:
    """Shares of the classes, most frequent first."""
    rows = sum(classes.values())
    parts = [f"{label}: {n / rows:.1%}" for label, n in classes.most_common(total)]
    return ", ".join(parts) + (f" and {len(classes) - total} more" if len(classes) > total else "")


def first_loss(model: nn.Module, task: Task, feed: Feed, stepper: Stepper) -> dict[str, float]:
    """The terms of the first step's loss before anything is learned.

    Raises :class:`DataError` when a term has another number of targets than the task announced.
    """
    with closing(feed.epoch(0)) as steps:
        micros = next(steps)
    counts, totals, targets = stepper.counts(micros), Counter(), Counter()
    with aside(model, stepper.strategy.device):
        for micro, counted in passes(micros, stepper.strategy, feed):
            inputs = to_device(micro, stepper.strategy.device)
            with stepper.strategy.precision.autocast():
                found = stepper.strategy.forward(partial(task.terms, batch=inputs))
            for name, term in found[1].items() if counted and stepper.strategy.ends else ():
                totals[name] += float(term.weight * term.total)
                targets[name] += float(term.count)
    alone = stepper.strategy.shard_of_batch()[1] == 1  # else the announced counts are of all shares
    for name, n in targets.items():
        if name not in counts or (alone and max(n, 1.0) != counts[name]):
            raise DataError(
                f"the loss term '{name}' has {n:g} targets in the first batch, the task's counts() announced "
                f"{counts.get(name, 0):g}; its mean would be wrong. Both must count the same labels"
            )
    whole = stepper.strategy.total(torch.tensor([totals[name] for name in counts], dtype=torch.float64)).tolist()
    return {name: total / counts[name] for name, total in zip(counts, whole)}


def leaks(model: nn.Module, task: Task, batch: Batch, strategy: Strategy) -> bool | None:
    """Whether what one sequence says reaches another: its tokens are turned round, the others' answers compared.

    ``None`` where that cannot be told: a batch of one row, or an answer that does not depend on the order of tokens.
    """
    rows = min(strategy.gather(len(batch["rows"])))  # of the process with fewest: all compute, or none
    if rows < 2 or "input_ids" not in batch:
        return None
    with aside(model, strategy.device), strategy.precision.autocast():
        before, after = (
            strategy.forward(partial(task.predict, batch=to_device(without(some, task.targets), strategy.device)))
            for some in (batch, _last_reversed(batch))
        )
    found = strategy.gather(_leaked(before, after) if strategy.ends else None)
    return True if True in found else False if False in found else None


def _leaked(before: Sequence[Any], after: Sequence[Any]) -> bool | None:
    """Whether answers to other sequences than the last one differ; ``None`` where the last one's does not."""
    *others, own = (np.abs(a - b).max(initial=0.0) for a, b in zip(_numbers(before), _numbers(after)))
    # rounding is far below, a leak far above a hundredth
    return bool(max(others) > 0.01 * own) if own > 1e-5 else None


def _last_reversed(batch: Batch) -> Batch:
    """The batch with the tokens of its last sequence in reverse order."""
    ids = batch["input_ids"].clone()
    if "lengths" in batch:
        length = int(batch["lengths"][-1])
        ids[0, -length:] = ids[0, -length:].flip(0)
    else:
        real = batch["attention_mask"][-1].bool() if "attention_mask" in batch else slice(None)
        ids[-1, real] = ids[-1, real].flip(0)
    return {**batch, "input_ids": ids}


def _numbers(answers: Sequence[Any]) -> list[np.ndarray]:
    """The numbers in each answer: a number, or a tuple or list that holds some."""
    each = [answer if isinstance(answer, list | tuple) else [answer] for answer in answers]
    return [np.array([x for x in answer if isinstance(x, int | float)], dtype=float) for answer in each]


def metric_names(model: nn.Module, task: Task, feed: Feed, strategy: Strategy) -> list[str]:
    """What evaluation will measure, found by doing it on one batch: a broken metric shows now, not after an epoch."""
    with closing(feed.epoch(0)) as steps, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a score that one batch leaves undefined
        return list(measure(model, task, next(steps), strategy, feed).metrics)


def worst_batch(model: nn.Module, stepper: Stepper, batch: Batch) -> tuple[int, int]:
    """Forward and backward of the largest batch: its computed positions, and the peak memory in bytes.

    Buffers, gradients and random generators are afterwards as they were.
    """
    device = stepper.strategy.device
    generators = rng.state(device)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    model.train()
    stepper.gradients([batch])
    peak = peak_memory(device)
    model.zero_grad(set_to_none=True)
    for name, b in model.named_buffers():
        if name in buffers:  # a table made in this very pass is new and may stay
            b.copy_(buffers[name])
    rng.load(generators, device)
    return size_of(batch).slots, peak


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: tensors on a GPU, the whole process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
