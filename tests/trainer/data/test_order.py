"""The order is a permutation for every epoch, a pure function, and looks like a random one."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.order import Order

seeds = st.integers(-(2**70), 2**70)


@given(n=st.integers(0, 3000), seed=seeds, epoch=st.integers(0, 10**6))
def test_a_permutation(n, seed, epoch):
    order = Order(n, seed).index(epoch, np.arange(n))
    assert order.dtype == np.int64 and np.array_equal(np.sort(order), np.arange(n))


@pytest.mark.parametrize("n", [*range(1, 40), 2**12 - 1, 2**12, 2**12 + 1, 2**16, 100_003])
def test_a_permutation_at_the_edges_of_the_bit_widths(n):
    assert np.array_equal(np.sort(Order(n, 5).index(1, np.arange(n))), np.arange(n))


@given(n=st.integers(1, 2**62 - 1), seed=seeds, data=st.data())
def test_one_position_equals_many(n, seed, data):
    positions = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    order = Order(n, seed)
    many = order.index(3, np.array(positions))
    assert [order.index(3, position) for position in positions] == many.tolist()
    assert many.min() >= 0 and many.max() < n


def test_it_is_what_it_was():
    """A changed order would make every resumed run read other rows and nobody would see: the first version's values."""
    assert Order(10, 0).index(0, np.arange(10)).tolist() == [1, 7, 4, 3, 8, 2, 0, 6, 5, 9]
    assert Order(1_000_000, 42).index(3, np.arange(5)).tolist() == [594953, 990740, 62808, 812399, 765981]


def test_epochs_and_seeds_differ():
    n = 10_000
    first = Order(n, 1).index(0, np.arange(n))
    for other in (Order(n, 1).index(1, np.arange(n)), Order(n, 2).index(0, np.arange(n))):
        assert (first == other).sum() < 12  # 1 expected of two random orders
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def chi_square(counts):
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum() / (counts.size - 1)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_all_orders_of_a_few_examples_are_as_likely(n):
    every = list(permutations(range(n)))
    counts = np.zeros(len(every))
    for seed in range(1200):
        counts[every.index(tuple(Order(n, seed).index(0, np.arange(n)).tolist()))] += 1
    assert chi_square(counts) < 4  # 1 on average


@pytest.mark.parametrize("n", [10, 65])
def test_every_example_comes_everywhere_as_often(n):
    counts = np.zeros((n, n))
    for seed in range(600):
        counts[np.arange(n), Order(n, seed).index(seed % 3, np.arange(n))] += 1
    assert chi_square(counts) < 1.35


def test_neighbours_do_not_stay_neighbours():
    n = 50_000
    order = Order(n, 9).index(0, np.arange(n))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert (np.abs(np.diff(order)) == 1).sum() < 12  # 2 expected


def test_no_seed_is_the_given_order():
    assert np.array_equal(Order(7, None).index(4, np.arange(7)), np.arange(7))
    assert Order(7, None).index(0, 6) == 6


@pytest.mark.parametrize("position", [-1, 5, np.array([0, 5])])
def test_positions_outside(position):
    with pytest.raises(IndexError):
        Order(5, 0).index(0, position)
