"""The fixed layout: few shapes, the same in every epoch, so that a compiled model is compiled a few times and no more."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.loader import Loader
from trainer.options import BatchOptions

MAX = 64


def plan(lengths, seed=3, world=1, rank=0, **changes):
    given = {"layout": "fixed", "tokens": 256, "size": None, "max_length": MAX, "accumulate": 1} | changes
    return BatchPlan(np.array(lengths, np.int32), BatchOptions(**given), seed, rank, world)


def shapes(plan, epoch):
    micros = [rows for step in range(plan.steps(epoch)) for rows in plan.global_step(epoch, step)]
    return sorted((len(rows), plan.width(rows)) for rows in micros)


@given(
    st.lists(st.integers(1, MAX), min_size=1, max_size=200),
    st.sampled_from([{}, {"tokens": 70}, {"tokens": None, "size": 7}]),
)
def test_one_number_of_rows_a_width_and_one_rest_the_same_in_every_epoch(lengths, options):
    made = plan(lengths, **options)
    assert made.widths.tolist() == [8, 16, 32, MAX]
    first = shapes(made, 0)
    assert first == shapes(made, 1) == shapes(made, 7)
    whole = [(options.get("size") or made.options.tokens // width, width) for _, width in first]
    assert sum(a != b for a, b in zip(first, whole)) <= 1 and len(set(first)) <= len(made.widths) + 1


def test_epochs_differ_and_short_rows_are_not_with_long_ones():
    lengths = np.random.default_rng(0).integers(1, MAX + 1, 500)
    made = plan(lengths)
    orders = [np.concatenate([made.step(epoch, i)[0] for i in range(made.steps(epoch))]) for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(500)) and (orders[0] != orders[1]).any()
    mixed = sum(len(set(np.searchsorted(made.widths, lengths[made.step(0, i)[0]]))) > 1 for i in range(made.steps(0)))
    assert mixed <= len(made.widths) - 1  # what fills up the last batch of a width
    assert made.padding(0) == pytest.approx(1 - lengths.sum() / sum(n * width for n, width in shapes(made, 0)))


class Data:
    """Rows of the numbers 1, 2, ... in the shape of a ``Dataset``."""

    def __init__(self, lengths):
        self.lengths = np.array(lengths, np.int32)

    def __len__(self):
        return len(self.lengths)

    def columns(self, rows):
        from trainer.data.dataset import Ragged

        lengths = self.lengths[np.asarray(rows)].astype(np.int64)
        return {"input_ids": Ragged(np.concatenate([np.zeros(0, int), *map(np.arange, lengths + 0)]) + 1, lengths)}


def batches(lengths, world=1, rank=0, epochs=2):
    made = plan(lengths, world=world, rank=rank)
    with Loader(Data(lengths), made, Collate((Field("input_ids", "token"),), made.options), workers=0) as loader:
        return [micro for epoch in range(epochs) for micros in loader.epoch(epoch) for micro in micros]


def test_ranks_have_the_width_of_the_whole_batch():
    lengths = np.random.default_rng(1).integers(1, MAX + 1, 300)
    parts = [batches(lengths, world=2, rank=rank) for rank in (0, 1)]
    assert len(parts[0]) == len(parts[1])
    for one, two in zip(*parts):
        assert one["input_ids"].shape[1] == two["input_ids"].shape[1]
        assert abs(len(one["rows"]) - len(two["rows"])) <= 1


def test_a_compiled_model_is_compiled_once_a_shape():
    lengths = np.random.default_rng(2).integers(1, MAX + 1, 150)
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model = torch.compile(lambda ids, mask: (ids * mask).sum(1) * 2, backend=backend, dynamic=False)
    seen = set()
    for micro in batches(lengths, epochs=3):
        ids = micro["input_ids"]
        seen.add(tuple(ids.shape))
        n = micro["attention_mask"].sum(1)
        assert torch.equal(model(ids, micro["attention_mask"]), n * (n + 1))
    assert len(compiled) == len(seen) <= 5
