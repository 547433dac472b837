"""Quantising by hand-made codebooks."""

import pytest
import torch

from catalog.layers.vq import GumbelQuantizer, perplexity


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    made = GumbelQuantizer(5, 8, groups=2, entries=3)
    made.initialise(0.02)
    return made


def test_evaluation_takes_the_likeliest_entry_of_each_group(quantizer):
    x = torch.randn(2, 4, 5)
    codes, _ = quantizer.eval()(x)
    scores = quantizer.score(x)
    for b in range(2):
        for t in range(4):
            first, second = scores[b, t, :3].argmax(), 3 + scores[b, t, 3:].argmax()
            want = torch.cat([quantizer.entries[0, first], quantizer.entries[0, second]])
            assert torch.equal(codes[b, t], want)


def test_training_draws_whole_entries_and_teaches_the_scores(quantizer):
    codes, used = quantizer.train()(torch.randn(1, 6, 5))
    entries = quantizer.entries[0].detach()
    for half, table in zip(codes[0].split(4, -1), entries.split(3)):
        assert all(any(torch.allclose(code, entry, atol=1e-6) for entry in table) for code in half)
    (codes.sum() + used).backward()
    assert quantizer.score.weight.grad.abs().sum() > 0 and quantizer.entries.grad.abs().sum() > 0


def test_perplexity_counts_entries_in_use_among_chosen_frames():
    even = torch.eye(4)[None, :, None]  # four frames, each its own entry of one group
    assert float(perplexity(even)) == pytest.approx(4, rel=1e-4)
    where = torch.tensor([[True, True, False, False]])
    assert float(perplexity(even, where)) == pytest.approx(2, rel=1e-4)
    assert float(perplexity(even[:, :1].expand(1, 4, 1, 4))) == pytest.approx(1, rel=1e-4)
