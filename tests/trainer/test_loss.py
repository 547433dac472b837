"""The loss and the gradient of a batch do not depend on how it is cut into micro batches."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.support import training
from trainer.precision import Precision
from trainer.step import Stepper, size_of
from trainer.strategies.single import Single

ROWS = training.Rows(24, seed=3)
FEED = training.Batches(ROWS)
CPU = torch.device("cpu")


def stepper(task, net, clip=None):
    strategy = Single(training.spread("single"), CPU, Precision("fp32", CPU))
    strategy.setup(net)
    strategy.optimizer(training.config().optim)
    return Stepper(net, task, strategy, clip)


def loss_and_gradient(cuts, task):
    """The rows 0..23 cut at ``cuts``; in float64, without dropout."""
    net = training.model(dtype=torch.float64, dropout=0.0)
    edges = [0, *sorted(set(cuts)), len(ROWS)]
    micros = [FEED.batch(range(a, b)) for a, b in pairwise(edges)]
    loss = stepper(task, net).gradients(micros)
    return loss, {name: p.grad for name, p in net.named_parameters()}


def by_hand():
    """The published means over the whole batch at once: cross entropy of classes, half that of tokens."""
    net, batch = training.model(dtype=torch.float64, dropout=0.0), FEED.batch(range(len(ROWS)))
    classes, tokens = net(batch["input_ids"], batch["attention_mask"])
    real = batch["attention_mask"].bool()
    loss = F.cross_entropy(classes, batch["labels"]) + 0.5 * F.cross_entropy(tokens[real], batch["input_ids"][real])
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in net.named_parameters()}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, len(ROWS) - 1), max_size=8))
def test_any_split_gives_the_loss_and_gradient_of_the_whole(cuts):
    loss, gradient = loss_and_gradient(cuts, training.Task(weight=0.5))
    expected, expected_gradient = by_hand()
    assert abs(loss - expected) < 1e-12
    for name, g in expected_gradient.items():
        assert (gradient[name] - g).abs().max() < 1e-12, name


def test_the_mean_of_micro_batch_means_would_be_another_number():
    """The rows have different numbers of tokens, so the splits above do distinguish right from wrong."""
    net = training.model(dtype=torch.float64, dropout=0.0)
    task = stepper(training.Task(weight=0.5), net)
    parts = [FEED.batch(range(3)), FEED.batch(range(3, 24))]
    naive = sum(task.gradients([part]) for part in parts) / 2
    assert abs(naive - by_hand()[0]) > 1e-3


def test_micro_batches_without_targets_add_nothing():
    rows = training.Rows(8, seed=4)
    feed = training.Batches(rows)
    whole, empty = feed.batch(range(4)), feed.batch(range(4, 8))
    empty["labels"].fill_(training.IGNORE)
    results = []
    for micros in ([whole], [whole, empty], [empty, whole]):
        net = training.model(dtype=torch.float64, dropout=0.0)
        results.append((float(stepper(training.Task(), net).gradients(micros)), net.classify.weight.grad))
    for loss, grad in results[1:]:
        assert loss == pytest.approx(results[0][0], abs=1e-13)
        torch.testing.assert_close(grad, results[0][1], rtol=0, atol=1e-13)


def test_a_step_without_any_target_has_loss_zero_and_is_finite():
    batch = FEED.batch(range(4))
    batch["labels"].fill_(training.IGNORE)
    net = training.model(dropout=0.0)
    assert float(stepper(training.Task(), net).gradients([batch])) == 0.0
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_processes_share_a_batch_as_micro_batches_do():
    """Two strategies that each see half of the batch and sum as a process group would."""
    parts, task = [FEED.batch(range(5)), FEED.batch(range(5, 24))], training.Task(weight=0.5)
    counts = [stepper(task, training.model(dtype=torch.float64)).counts([part]) for part in parts]
    together = {name: counts[0][name] + counts[1][name] for name in counts[0]}

    class Half(Single):
        def total(self, values):
            return torch.tensor([*values[:3], *(together[n] for n in sorted(together))]) if values.dim() else values

    loss, grads = 0.0, {}
    for part in parts:
        net = training.model(dtype=torch.float64, dropout=0.0)
        half = Half(training.spread("single"), CPU, Precision("fp32", CPU))
        half.setup(net)
        loss += Stepper(net, task, half, None).gradients([part])
        for name, p in net.named_parameters():
            grads[name] = grads.get(name, 0) + p.grad
    expected, gradient = by_hand()
    assert abs(loss - expected) < 1e-12
    assert all((grads[name] - g).abs().max() < 1e-12 for name, g in gradient.items())


@pytest.mark.parametrize("max_norm", [0.05, 1e9])
def test_clipping_scales_the_whole_gradient(max_norm):
    net = training.model(dtype=torch.float64, dropout=0.0)
    step = stepper(training.Task(weight=0.5), net, clip=max_norm)
    step.gradients([FEED.batch(range(24))])
    before = {name: p.grad.clone() for name, p in net.named_parameters()}
    expected = torch.sqrt(sum((g**2).sum() for g in before.values()))
    norm = step.strategy.clip(max_norm)
    assert abs(norm - expected) < 1e-12
    scale = min(1.0, max_norm / float(expected))
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.grad, before[name] * scale, rtol=1e-4, atol=0)  # torch divides by norm + 1e-6


def test_a_step_clips_before_it_updates(monkeypatch):
    step = stepper(training.Task(), training.model(dropout=0.0), clip=0.05)
    norms = []
    monkeypatch.setattr(step.strategy, "update", lambda lr, skip: norms.append(step.strategy.clip(None)))
    outcome = step([FEED.batch(range(24))], 0.1)
    assert outcome.norm > 0.1, "what is reported is the norm before clipping"
    assert float(norms[0]) == pytest.approx(0.05, rel=1e-4)


def test_without_a_limit_nothing_is_clipped():
    net = training.model(dropout=0.0)
    step = stepper(training.Task(), net)
    step.gradients([FEED.batch(range(24))])
    before = net.classify.weight.grad.clone()
    assert step.strategy.clip(None) > 0
    assert torch.equal(net.classify.weight.grad, before)


def test_sizes_count_real_tokens():
    padded = FEED.batch([0, 1, 2])
    real = sum(len(ROWS.ids[i]) for i in (0, 1, 2))
    assert size_of(padded) == (3, real, 3 * max(len(ROWS.ids[i]) for i in (0, 1, 2)))
    flat = {"input_ids": torch.ones(1, real), "lengths": torch.tensor([2, 3]), "rows": torch.tensor([4, 1])}
    assert size_of({**flat, "input_ids": torch.ones(1, 8, dtype=torch.long)}) == (2, 5, 8)
