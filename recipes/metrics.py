"""Streaming metrics that processes can join (``trainer.task.Metrics``), around the libraries that know the formulas."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from trainer.task import Batch, TermLike

ALONE = {"sync_on_compute": False}  # of torchmetrics: the trainer joins what processes have seen


class Judged(NamedTuple):
    """What a model said of a batch, and the parts of its loss: the output of a task whose metrics need both."""

    output: Any
    terms: Mapping[str, TermLike]


class Scores:
    """Metrics of torchmetrics by name.

    ``pairs(output, batch)`` gives what they are updated with: predictions and targets, tensors on one device. They keep
    sums; a metric that has to keep every number keeps a list, and such lists are joined.
    """

    def __init__(self, metrics: Mapping[str, Metric], pairs: Callable[[Any, Batch], tuple[Tensor, Tensor]]):
        self.metrics, self.pairs = metrics, pairs

    def update(self, output: Any, batch: Batch) -> None:
        """Add one batch."""
        answers, targets = self.pairs(output, batch)
        for metric in self.metrics.values():
            metric.to(answers.device).update(answers, targets)

    def compute(self) -> dict[str, float]:
        """Every metric over all rows; one that the rows leave undefined is NaN."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {name: float(metric.compute()) for name, metric in self.metrics.items()}

    def state(self) -> dict[str, dict[str, Any]]:
        """The sums or numbers of each metric; none of one that has seen no row."""
        seen = {name: metric for name, metric in self.metrics.items() if metric.update_called}
        return {name: {field: _on_cpu(value) for field, value in m.metric_state.items()} for name, m in seen.items()}

    def merge(self, states: Sequence[dict[str, dict[str, Any]]]) -> None:
        """Sums are added, numbers joined; a correlation's moments are kept side by side and joined when computed."""
        for name, metric in self.metrics.items():
            seen = [state[name] for state in states if name in state]
            for field, value in metric.metric_state.items() if seen else ():
                each = [state[field] for state in seen]
                if isinstance(value, list):
                    joined = [number.to(metric.device) for numbers in each for number in numbers]
                else:
                    joined = torch.stack([number.to(metric.device) for number in each])
                    joined = joined.flatten() if name == "pearson" else joined.sum(0)
                setattr(metric, field, joined)

    def reset(self) -> None:
        """Forget all rows."""
        for metric in self.metrics.values():
            metric.reset()


class Answers:
    """Metrics of small answers (words, tags, boxes), which are kept and scored together at the end.

    pairs    pairs(output, batch) -> (answer, reference) for each example of a batch, plain values
    scores   scores(answers, references) -> metrics by name: a call of seqeval, sacrebleu, rouge-score, jiwer ...
    """

    def __init__(
        self,
        pairs: Callable[[Any, Batch], Sequence[tuple[Any, Any]]],
        scores: Callable[[list, list], Mapping[str, float]],
    ):
        self.pairs, self.scores = pairs, scores
        self.kept: list[tuple[Any, Any]] = []

    def update(self, output: Any, batch: Batch) -> None:
        """Add the answers of one batch."""
        self.kept.extend(self.pairs(output, batch))

    def compute(self) -> dict[str, float]:
        """Every metric over all answers."""
        return {name: float(score) for name, score in self.scores(*map(list, zip(*self.kept))).items()}

    def state(self) -> list[tuple[Any, Any]]:
        """All answers with their references."""
        return self.kept

    def merge(self, states: Sequence[list[tuple[Any, Any]]]) -> None:
        """The answers of all processes."""
        self.kept = [pair for state in states for pair in state]

    def reset(self) -> None:
        """Forget all answers."""
        self.kept = []


class Likelihood:
    """What follows from the loss itself: ``figures(means)`` of the mean of each of its terms over all real targets.

    The task's output is ``Judged``. Sums are in float64, so that the means are those of the whole set.
    """

    def __init__(self, figures: Callable[[Mapping[str, float]], Mapping[str, float]]):
        self.figures = figures
        self.sums: dict[str, tuple[float, float]] = {}

    def update(self, output: Judged, batch: Batch) -> None:
        """Add the terms of one batch."""
        for name, term in output.terms.items():
            total, count = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = (total + float(term.total.double()), count + float(term.count))

    def compute(self) -> dict[str, float]:
        """The figures; NaN for a term without any target."""
        means = {name: total / count if count else math.nan for name, (total, count) in self.sums.items()}
        return dict(self.figures(means))

    def state(self) -> dict[str, tuple[float, float]]:
        """Sum and count of each term."""
        return self.sums

    def merge(self, states: Sequence[dict[str, tuple[float, float]]]) -> None:
        """Sums and counts are added."""
        names = dict.fromkeys(name for state in states for name in state)
        each = {name: [state[name] for state in states if name in state] for name in names}
        self.sums = {name: tuple(map(sum, zip(*seen))) for name, seen in each.items()}

    def reset(self) -> None:
        """Forget all batches."""
        self.sums = {}


class Together:
    """Several metrics as one; their names must differ."""

    def __init__(self, *parts: Any):
        self.parts = parts

    def update(self, output: Any, batch: Batch) -> None:
        """Add one batch to each."""
        for part in self.parts:
            part.update(output, batch)

    def compute(self) -> dict[str, float]:
        """All of them."""
        return {name: value for part in self.parts for name, value in part.compute().items()}

    def state(self) -> list[Any]:
        """The state of each."""
        return [part.state() for part in self.parts]

    def merge(self, states: Sequence[list[Any]]) -> None:
        """Each joined with its like."""
        for part, seen in zip(self.parts, zip(*states)):
            part.merge(seen)

    def reset(self) -> None:
        """Forget all rows in each."""
        for part in self.parts:
            part.reset()


def _on_cpu(value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return [number.cpu() for number in value] if isinstance(value, list) else value.cpu()
