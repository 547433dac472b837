"""Files read as they are needed: every row once, the same global sequence for any workers and ranks, resumed by seeking."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data import shards
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.loader import Loader
from trainer.data.rows import RowError
from trainer.data.shards import PartOrder, Shards
from trainer.errors import DataError
from trainer.options import BatchOptions

BATCH = BatchOptions(layout="unpadded", tokens=None, size=7, max_length=50, accumulate=2)
FIELDS = (Field("input_ids", "token"), Field("labels", "row"))


def process(columns):
    """A row's number, as often as its text has letters."""
    if "bad" in columns["text"]:
        raise RowError(columns["text"].index("bad"), "a bad text")
    return {"input_ids": [[n] * len(t) for n, t in zip(columns["n"], columns["text"])], "labels": columns["n"]}


@pytest.fixture
def files(tmp_path):
    """Three files of 20, 33 and 5 rows, row ``n`` of all with n % 6 + 1 letters, the second in several groups."""
    edges, paths = [(0, 20), (20, 53), (53, 58)], []
    for k, (low, high) in enumerate(edges):
        table = pa.table(
            {
                "n": list(range(low, high)),
                "text": ["x" * (n % 6 + 1) for n in range(low, high)],
                "more": [0] * (high - low),
            }
        )
        paths.append(tmp_path / f"{k}.{'arrow' if k == 0 else 'parquet'}")
        if k:
            pq.write_table(table, paths[-1], row_group_size=10)
        else:
            with pa.OSFile(str(paths[-1]), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=8)
    return paths


def loader(files, seed=3, rank=0, world=1, **more):
    data = Shards(files, process, columns=["n", "text"], key="letters")
    plan = BatchPlan(data.lengths, BATCH, seed, rank, world, data.order(seed))
    return Loader(data, plan, Collate(FIELDS, BATCH), **more)


def listed(steps):
    return [[{name: tensor.tolist() for name, tensor in batch.items()} for batch in step] for step in steps]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 1 << 40), st.integers(0, 5))
def test_the_order_is_a_permutation_and_goes_part_by_part(sizes, seed, epoch):
    order, n = PartOrder(sizes, seed), sum(sizes)
    rows = order.index(epoch, np.arange(n))
    assert sorted(rows.tolist()) == list(range(n))
    owners = np.searchsorted(np.cumsum(sizes), rows, "right")
    assert (np.diff(owners) != 0).sum() == len(sizes) - 1
    some = np.arange(n)[:: max(1, n // 5)]
    assert order.index(epoch, some).tolist() == rows[some].tolist(), "any position at once"
    assert PartOrder(sizes, None).index(epoch, np.arange(n)).tolist() == list(range(n))


def test_every_row_once_in_another_order_each_epoch(files):
    with loader(files) as feed:
        epochs = [[n for step in feed.epoch(e) for b in step for n in b["labels"].tolist()] for e in range(2)]
        for seen in epochs:
            assert sorted(seen) == list(range(58)) and seen != sorted(seen)
        assert epochs[0] != epochs[1]
        for step in feed.epoch(0):
            for batch in step:
                expected = [n for n in batch["labels"].tolist() for _ in range(n % 6 + 1)]
                assert batch["input_ids"][0].tolist() == expected
                assert batch["rows"].tolist() == batch["labels"].tolist()


def test_the_same_for_any_workers_ranks_and_after_a_seek(files):
    with loader(files, workers=0) as feed:
        alone = listed(feed.epoch(1))
    for more in ({"workers": 3}, {"workers": 1, "kind": "process"}):
        with loader(files, **more) as feed:
            assert listed(feed.epoch(1)) == alone
            assert listed(feed.epoch(1, start=2)) == alone[2:]
    parts = [listed(loader(files, rank=rank, world=3, workers=0).epoch(1)) for rank in range(3)]
    for k, step in enumerate(alone):
        for m, batch in enumerate(step):
            assert sorted(row for part in parts for row in part[k][m]["rows"]) == sorted(batch["rows"])


def test_few_parts_are_held_and_each_is_read_once_an_epoch(files, monkeypatch):
    read, real = [], shards._read
    monkeypatch.setattr(shards, "_read", lambda *args: (read.append(args[:2]), real(*args))[1])
    with loader(files, workers=0) as feed:
        assert not read, "only headers before the first batch"
        for _ in feed.epoch(0):
            assert len(feed.dataset._held) <= shards.HELD
    assert len(read) == len(set(read)) == len(feed.dataset.sizes) == 6


def test_identity(files):
    first = loader(files).identity
    assert loader(files).identity == first and loader(files, seed=4).identity != first
    assert loader(files[::-1]).identity != first and loader(files[:2]).identity != first


def test_what_cannot_be_streamed_is_named(files, tmp_path):
    def made(*paths, columns=("n", "text")):
        return Shards(paths, process, columns=columns, key=1)

    (tmp_path / "a.jsonl").write_text(json.dumps({"n": 1}))
    with pytest.raises(DataError, match=r"a\.jsonl: streaming reads parquet and arrow"):
        made(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"1\.parquet: no column 'txt'; did you mean 'text'"):
        made(files[1], columns=["txt"])
    data = files[1].read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut\.parquet: not a whole parquet file"):
        made(tmp_path / "cut.parquet")
    pq.write_table(pa.table({"n": [1, 2, 3], "text": ["ok", "bad", None]}), tmp_path / "b.parquet")
    found = made(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet \(group 0\) row 2: a bad text"):
        found[1]
    with pytest.raises(DataError, match=r"b\.parquet \(group 0\) row 3: column 'text' has no value"):
        found[2]
    assert found[0] == {"input_ids": [1, 1], "labels": 1}
