"""Packing: every token in exactly one block."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.packing import pack


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(1, 30))
def test_every_token_once_and_no_block_too_full(lengths, capacity):
    packed = pack(np.array(lengths, np.int64), capacity)
    tokens = [(row, t) for row, start, stop, _ in zip(*map(np.ndarray.tolist, packed)) for t in range(start, stop)]
    assert sorted(tokens) == [(row, t) for row, length in enumerate(lengths) for t in range(length)]
    sizes = packed.stop - packed.start
    assert (sizes > 0).all() and (np.diff(packed.block) >= 0).all()
    if len(packed.block):
        filled = np.bincount(packed.block, sizes)
        assert filled.max() <= capacity and filled.min() > 0
        assert np.sort(filled)[:2].sum() > capacity or len(filled) == 1  # no two blocks would fit into one


@given(st.lists(st.integers(1, 30), max_size=80))
def test_what_fits_is_not_cut(lengths):
    packed = pack(np.array(lengths, np.int64), 30)
    assert sorted(packed.row.tolist()) == list(range(len(lengths))) and (packed.start == 0).all()


def test_a_known_case():
    packed = pack(np.array([5, 3, 7, 2, 12]), 10)
    pieces = list(zip(*(part.tolist() for part in packed)))
    assert pieces == [(4, 0, 10, 0), (1, 0, 3, 1), (2, 0, 7, 1), (0, 0, 5, 2), (3, 0, 2, 2), (4, 10, 12, 2)]


def test_blocks_are_nearly_full():
    lengths = np.minimum(np.random.default_rng(0).geometric(1 / 300, 5000), 4000)
    packed = pack(lengths, 2048)
    assert lengths.sum() / (2048 * (packed.block.max() + 1)) > 0.995


def test_no_capacity():
    with pytest.raises(ValueError, match="at least one token"):
        pack(np.array([1]), 0)
