"""Masks know where sequences begin and end, on whichever side they are padded."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from catalog.layers import masks

ROWS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]])
X = torch.arange(24.0).reshape(3, 4, 2)


def test_positions_restart_at_each_first_real_token():
    assert masks.padding(ROWS).positions(4).tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 0, 0, 0]]
    assert masks.causal().positions(2, past=3).tolist() == [[3, 4]]
    assert masks.causal(ROWS).positions(1, past=3).tolist() == [[3], [3], [0]]
    assert masks.packed(torch.tensor([2, 1, 3])).positions(6).tolist() == [[0, 1, 0, 0, 1, 2]]


def test_first_last_and_mean_are_each_sequences_own():
    mask = masks.padding(ROWS)
    assert torch.equal(mask.first(X), torch.stack([X[0, 0], X[1, 0], X[2, 3]]))
    assert torch.equal(mask.last(X), torch.stack([X[0, 3], X[1, 1], X[2, 3]]))
    assert torch.equal(mask.mean(X), torch.stack([X[0].mean(0), X[1, :2].mean(0), X[2, 3]]))
    whole = masks.padding()
    assert torch.equal(whole.first(X), X[:, 0]) and torch.equal(whole.last(X), X[:, 3])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_unpadded_pools_equal_padded_ones(lengths):
    rows = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    packed, flat = masks.packed(torch.tensor(lengths)), torch.cat(rows)[None]
    assert torch.equal(packed.first(flat), torch.stack([r[0] for r in rows]))
    assert torch.equal(packed.last(flat), torch.stack([r[-1] for r in rows]))
    torch.testing.assert_close(packed.mean(flat), torch.stack([r.mean(0) for r in rows]))
    unpacked = packed.rows(flat, fill=-1.0)
    assert unpacked.shape == (len(rows), max(lengths), 3)
    assert all(
        torch.equal(unpacked[i, : len(r)], r) and (unpacked[i, len(r) :] == -1).all() for i, r in enumerate(rows)
    )
    assert packed.positions(sum(lengths))[0].tolist() == [i for n in lengths for i in range(n)]
    tokens = flat[0][:, None, :]
    rows_of = [group.pad(tokens) for group in packed.groups()]
    assert torch.equal(torch.cat([g.unpad(r) for g, r in zip(packed.groups(), rows_of)]), tokens)
    assert all(r.shape[0] * r.shape[2] <= 2 * len(g.unpad(r)) for g, r in zip(packed.groups(), rows_of))


def test_a_window_reaches_back_that_far_and_no_further():
    allowed = masks.causal(window=2).allowed(4, 4, None)[0, 0]
    assert allowed.tolist() == [[j <= i and i - j < 2 for j in range(4)] for i in range(4)]
