"""Global batches: every row once, within budget, the same for any number of ranks, and any step at once."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.batches import BatchPlan
from trainer.errors import DataError
from trainer.options import BatchOptions

MAX = 24


def options(layout="unpadded", tokens=64, size=None, accumulate=1, max_length=MAX):
    return BatchOptions(layout=layout, tokens=tokens, size=size, max_length=max_length, accumulate=accumulate)


lengths = st.lists(st.integers(1, MAX), max_size=120).map(lambda values: np.array(values, np.int32))
budgets = st.one_of(
    st.integers(MAX, 200).map(lambda tokens: {"tokens": tokens, "size": None}),
    st.integers(1, 30).map(lambda size: {"tokens": None, "size": size}),
)
choices = st.builds(
    lambda layout, budget, accumulate: options(layout, accumulate=accumulate, **budget),
    st.sampled_from(["unpadded", "bucketed", "padded", "fixed"]),
    budgets,
    st.integers(1, 3),
)
seeds = st.none() | st.integers(0, 2**32)


def slots(lengths, rows, layout):
    if layout == "fixed":
        return min(width for width in (8, 16, MAX) if width >= lengths[rows].max(initial=0)) * len(rows)
    if layout == "padded":
        return MAX * len(rows)
    return lengths[rows].sum() if layout == "unpadded" else lengths[rows].max(initial=0) * len(rows)


def run(plan, epoch=0):
    return [plan.step(epoch, step) for step in range(plan.steps(epoch))]


@given(lengths, choices, seeds, st.integers(0, 5))
def test_every_row_once_within_the_budget_sorted_by_length(lengths, options, seed, epoch):
    plan = BatchPlan(lengths, options, seed)
    micros = [rows for step in run(plan, epoch) for rows in step]
    assert sorted(np.concatenate([np.zeros(0, int), *micros]).tolist()) == list(range(len(lengths)))
    for rows in micros:
        assert len(rows) and (np.diff(lengths[rows]) >= 0).all()
        if options.tokens is None:
            assert len(rows) <= options.size
        else:
            assert slots(lengths, rows, options.layout) <= options.tokens
    for step in run(plan, epoch)[:-1]:
        assert len(step) == options.accumulate


@given(lengths, choices, seeds, st.integers(1, 5))
def test_ranks_share_out_the_same_global_batches(lengths, options, seed, world):
    alone = run(BatchPlan(lengths, options, seed), 2)
    plans = [BatchPlan(lengths, options, seed, rank, world) for rank in range(world)]
    assert all(plan.steps(2) == len(alone) for plan in plans)
    for shares, step in zip(zip(*(run(plan, 2) for plan in plans)), alone):
        for k, rows in enumerate(step):
            parts = [share[k] for share in shares]
            assert sorted(np.concatenate(parts).tolist()) == sorted(rows.tolist())
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            tokens = [lengths[part].sum() for part in parts]
            assert max(tokens) - min(tokens) <= MAX + (lengths[rows].max() - lengths[rows].min())


@given(lengths.filter(len), choices, seeds, st.data())
def test_seek_equals_iterate(lengths, options, seed, data):
    """A fresh plan asked for one step of one epoch gives what a plan that ran through gives there."""
    plan = BatchPlan(lengths, options, seed)
    epoch = data.draw(st.integers(0, 3))
    step = data.draw(st.integers(0, plan.steps(epoch) - 1))
    for earlier in range(epoch):
        run(plan, earlier)
    through = run(plan, epoch)[step]
    fresh = BatchPlan(lengths, options, seed).step(epoch, step)
    assert [rows.tolist() for rows in fresh] == [rows.tolist() for rows in through]


@settings(max_examples=50)
@given(lengths.filter(len), choices, st.integers(0, 100))
def test_no_batch_of_any_epoch_is_larger_than_the_worst(lengths, options, seed):
    plan = BatchPlan(lengths, options, seed)
    worst = plan.worst()
    assert len(set(worst.tolist())) == len(worst)
    spare = 0
    if options.tokens and options.layout == "unpadded":  # less than any row that was left out
        spare = max(0, np.delete(lengths, worst).min(initial=MAX + 1) - 1) if len(worst) < len(lengths) else 0
    elif options.tokens and options.layout in ("bucketed", "fixed"):  # less than one more row of that width
        spare = (plan.width(worst) or lengths.max()) - 1
    for epoch in range(3):
        for rows in (rows for step in run(plan, epoch) for rows in step):
            assert slots(lengths, rows, options.layout) <= slots(lengths, worst, options.layout) + spare
            assert lengths[rows].max() <= lengths[worst].max()


@given(lengths.filter(len), choices, seeds)
def test_padding_is_what_the_batches_have(lengths, options, seed):
    plan = BatchPlan(lengths, options, seed)
    computed = sum(slots(lengths, rows, options.layout) for step in run(plan) for rows in step)
    assert plan.padding(0) == pytest.approx(1 - lengths.sum() / computed)


def geometric(n=20_000):
    return np.minimum(2 + np.random.default_rng(0).geometric(1 / 12, n), 128).astype(np.int32)


def test_buckets_waste_little_and_budgets_are_used():
    lengths = geometric(100_000)
    bucketed = BatchPlan(lengths, options("bucketed", 4096, max_length=128), seed=1)
    assert bucketed.padding(0) < 0.03
    for layout in ("unpadded", "bucketed"):
        plan = BatchPlan(lengths, options(layout, 4096, max_length=128), seed=1)
        assert plan.steps(0) <= 1.05 * lengths.sum() / 4096 + 1


def test_batches_come_in_no_order_of_length():
    plan = BatchPlan(geometric(), options("bucketed", 1024, max_length=128), seed=1)
    widths = np.array([plan.lengths[rows].mean() for step in run(plan) for rows in step])
    assert abs(np.corrcoef(np.arange(len(widths)), widths)[0, 1]) < 0.1
    assert np.abs(np.diff(widths)).mean() > 0.5 * widths.std()


def test_epochs_mix_rows_anew():
    plan = BatchPlan(geometric(2000), options("bucketed", 1024, max_length=128), seed=1)
    epochs = [{frozenset(rows.tolist()) for step in run(plan, epoch) for rows in step} for epoch in (0, 1)]
    assert len(epochs[0] & epochs[1]) <= 1  # a lone longest row may stay alone


def test_identity_tells_what_a_position_means():
    lengths = geometric(500)
    plan = BatchPlan(lengths, options("bucketed", 1024, max_length=128), 1)
    same = BatchPlan(lengths.copy(), options("bucketed", 1024, max_length=128), 1, rank=1, world=4)
    assert plan.identity == same.identity
    changed = lengths.copy()
    changed[7] += 1
    others = [
        BatchPlan(changed, plan.options, 1),
        BatchPlan(lengths, plan.options, 2),
        *(
            BatchPlan(lengths, dataclasses.replace(plan.options, **change), 1)
            for change in ({"tokens": 1025}, {"layout": "unpadded"}, {"accumulate": 2}, {"tokens": None, "size": 8})
        ),
    ]
    assert len({plan.identity, *(other.identity for other in others)}) == len(others) + 1


def test_no_rows():
    for layout in ("unpadded", "bucketed", "padded"):
        plan = BatchPlan(np.zeros(0, np.int32), options(layout), 1)
        assert plan.steps(0) == 0 and plan.padding(0) == 0 and len(plan.worst()) == 0
        with pytest.raises(IndexError, match="step 0 of 0"):
            plan.step(0, 0)


@pytest.mark.parametrize(
    ("lengths", "chosen", "message"),
    [
        ([3, 25], options(), r"row 1 has 25 tokens, batch\.max_length is 24"),
        ([3, 20], options(tokens=16), r"batch\.tokens=16 does not hold one row of 20 tokens \(row 1\)"),
        (
            [3, 4],
            options("padded", tokens=16),
            r"batch\.tokens=16 does not hold one row of 24 tokens \(batch\.layout=padd",
        ),
        ([3], options(tokens=None), r"exactly one of batch\.tokens and batch\.size"),
        ([3], options(size=3), r"exactly one of batch\.tokens and batch\.size"),
    ],
)
def test_what_does_not_fit_is_said(lengths, chosen, message):
    with pytest.raises(DataError, match=message):
        BatchPlan(np.array(lengths, np.int32), chosen, 0)
