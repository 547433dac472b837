"""Every head's loss is a sum over targets: however a batch is cut, totals and counts add up to the whole."""

import pytest
import torch

import catalog
from catalog import losses
from tests.support import golden

CASES = [case for case in golden.cases("bert", "gpt2") if "loss" in case.data["outputs"]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_totals_and_counts_add_up(case, tmp_path):
    model = catalog.load(case.write(tmp_path / "model")).double()
    targets = {name: case.inputs[name] for name in model.targets}
    inputs = {name: value for name, value in case.inputs.items() if name not in targets}
    with torch.no_grad():
        whole = model(**inputs)
        loss = losses.mean(model.terms(whole, **targets))
        assert torch.equal(model(**inputs, **targets).loss, loss)
        parts = []
        for i in range(2):
            rows = {name: value[i : i + 1] for name, value in inputs.items()}
            parts.append(model.terms(model(**rows), **{name: value[i : i + 1] for name, value in targets.items()}))
    counts = model.counts(**targets)
    total = 0.0
    for name, term in model.terms(whole, **targets).items():
        assert float(term.count) == float(counts[name]) == sum(float(part[name].count) for part in parts)
        total += term.weight * sum(part[name].total for part in parts) / float(counts[name])
    torch.testing.assert_close(total, loss, rtol=1e-12, atol=0)


def test_the_next_token_is_nobodys_across_sequences():
    labels = torch.tensor([[5, 6, 7, 8, 9]])
    assert losses.shifted(labels).tolist() == [[6, 7, 8, 9, -100]]
    assert losses.shifted(labels, torch.tensor([2, 3])).tolist() == [[6, -100, 8, 9, -100]]


def test_problems_choose_their_loss():
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    squared = losses.mean_squared(logits[:, :1], torch.tensor([1.0, 0.0]))
    assert float(squared.total) == pytest.approx(0.25 + 4.0) and float(squared.count) == 2
    decisions = losses.binary(logits, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert float(decisions.count) == 4
    ignored = losses.cross_entropy(logits, torch.tensor([1, -100]))
    assert float(ignored.count) == 1 and float(ignored.total) == pytest.approx(1.7014, abs=1e-4)
