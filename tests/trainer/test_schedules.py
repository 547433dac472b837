"""Learning rates at 0, 10, 50 and 100% of a run, and warm-up in steps and shares."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import schedules

NAMES = ("linear", "cosine", "constant")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("linear", {0: 0.1, 5: 0.6, 10: 1.0, 50: 50 / 90, 99: 1 / 90, 100: 0.0}),
        ("cosine", {0: 0.1, 10: 1.0, 50: 0.5 * (1 + math.cos(math.pi * 40 / 90)), 55: 0.5, 100: 0.0}),
        ("constant", {0: 0.1, 9: 1.0, 10: 1.0, 50: 1.0, 100: 1.0}),
    ],
)
def test_values_of_a_hundred_steps_with_ten_of_warm_up(name, expected):
    for step, share in expected.items():
        assert schedules.share(name, step, 100, 10) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_without_warm_up_the_first_update_is_at_the_peak(name):
    assert schedules.share(name, 0, 100) == 1.0


@given(st.sampled_from(NAMES), st.integers(1, 500), st.integers(0, 500))
def test_no_update_is_at_rate_zero_and_none_beyond_the_peak(name, total, warmup):
    rates = [schedules.share(name, step, total, min(warmup, total)) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    rising = rates[: min(warmup, total)]
    assert rising == sorted(rising)
    falling = rates[min(warmup, total) :]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    "warmup, steps", [(0.06, 79), (0.1, 131), (0, 0), (50, 50), (0.0, 0), (1.0, 1305), (9999, 1305)]
)
def test_warm_up_is_steps_or_a_share_rounded_up(warmup, steps):
    assert schedules.warmup_steps(warmup, 1305) == steps


def test_steps_of_whole_and_part_epochs():
    sizes = [10, 12, 8]
    assert schedules.steps_of(2, sizes.__getitem__) == 22
    assert schedules.steps_of(2.5, sizes.__getitem__) == 26
    assert schedules.steps_of(0.01, sizes.__getitem__) == 1


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"'polynomial'.*linear, cosine and constant"):
        schedules.share("polynomial", 5, 10)
