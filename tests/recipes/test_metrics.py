"""Metrics around the libraries: the same figures for any batches and any number of processes."""

import math
from types import SimpleNamespace

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import PearsonCorrCoef

from recipes.metrics import ALONE, Answers, Judged, Likelihood, Scores, Together

PREDICTED, RIGHT = torch.tensor([0, 1, 2, 2, 1, 0, 0]), torch.tensor([0, 1, 1, 2, 1, 2, 0])
X, Y = torch.tensor([1.0, 2, 4, 8, 3]).double(), torch.tensor([2.0, 1, 5, 7, 4]).double()


def term(total, count):
    return SimpleNamespace(total=torch.tensor(float(total)), count=count)


def accuracy():
    return Scores({"accuracy": MulticlassAccuracy(3, average="micro", **ALONE)}, lambda output, batch: (output, batch))


def correlation():
    made = {"pearson": PearsonCorrCoef(**ALONE).set_dtype(torch.float64)}
    return Scores(made, lambda output, batch: (output, batch))


def words():
    return Answers(
        lambda output, batch: list(zip(output, batch)),
        lambda said, right: {
            "exact": 100 * sum(map(str.__eq__, said, right)) / len(said),
            "longest": max(map(len, said)),
        },
    )


def perplexities():
    return Likelihood(lambda means: {"perplexity": math.exp(means["loss"])})


CASES = {  # metrics -> (a fresh one, batches of (output, batch), what all of them together give)
    "scores": (accuracy, [(PREDICTED[a:b], RIGHT[a:b]) for a, b in ((0, 2), (2, 3), (3, 7))], {"accuracy": 5 / 7}),
    "correlation": (
        correlation,
        [(X[a:b], Y[a:b]) for a, b in ((0, 2), (2, 4), (4, 5))],
        {"pearson": torch.corrcoef(torch.stack([X, Y]))[0, 1].item()},
    ),
    "answers": (
        words,
        [(["a", "bb"], ["a", "b"]), (["ccc"], ["ccc"]), (["d"], ["x"])],
        {"exact": 50.0, "longest": 3.0},
    ),
    "likelihood": (
        perplexities,
        [(Judged(None, {"loss": term(total, count)}), None) for total, count in ((6, 2), (1, 8), (3, 0))],
        {"perplexity": math.e},
    ),
    "together": (
        lambda: Together(words(), Answers(lambda output, batch: [(1, 2)], lambda a, b: {"count": len(a)})),
        [(["a", "bb"], ["a", "b"]), (["ccc"], ["ccc"])],
        {"exact": pytest.approx(200 / 3), "longest": 3.0, "count": 2.0},
    ),
}
each = pytest.mark.parametrize(("fresh", "batches", "expected"), CASES.values(), ids=CASES)


@each
def test_the_figures_are_those_of_all_batches(fresh, batches, expected):
    metric = fresh()
    for output, batch in batches:
        metric.update(output, batch)
    assert metric.compute() == pytest.approx(expected)


@each
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_processes_that_share_the_batches_join_to_the_same_figures(fresh, batches, expected, ranks):
    """Of four processes one has seen nothing at all."""
    parts = [fresh() for _ in range(ranks)]
    for at, (output, batch) in enumerate(batches):
        parts[at % ranks].update(output, batch)
    joined = fresh()
    joined.merge([part.state() for part in parts])
    assert joined.compute() == pytest.approx(expected)


@each
def test_what_is_reset_has_seen_nothing(fresh, batches, expected):
    metric = fresh()
    metric.update(*batches[-1])
    metric.reset()
    for output, batch in batches:
        metric.update(output, batch)
    assert metric.compute() == pytest.approx(expected)


def test_a_loss_without_any_target_is_not_a_number():
    metric = Likelihood(lambda means: dict(means))
    metric.update(Judged(None, {"loss": term(0, 0)}), None)
    assert math.isnan(metric.compute()["loss"])
