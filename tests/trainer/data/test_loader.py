"""The loader brings the plan's batches, whoever prepares them, and names the row that cannot be one."""

import os
import resource
import signal
import threading
from itertools import chain, islice

import numpy as np
import pytest
import torch

from trainer.data import sources
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.loader import Loader
from trainer.data.prepare import prepare
from trainer.errors import DataError
from trainer.options import BatchOptions

FIELDS = (Field("input_ids", "token"), Field("labels", "row"))


def process(columns):
    """Ids are the row's number, as often as the row has letters."""
    numbers = [int(text.split()[0]) for text in columns["text"]]
    return {
        "input_ids": [[n] * len(text) for n, text in zip(numbers, columns["text"])],
        "labels": [n % 2 for n in numbers],
    }


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{i} {'x' * (i * 7 % 23)}\n" for i in range(200)))
    return prepare(sources.read(path), process, key="letters")


def loader(data, layout="unpadded", rank=0, world=1, accumulate=2, collate=Collate, **more):
    options = BatchOptions(layout=layout, tokens=100, size=None, max_length=30, accumulate=accumulate)
    plan = BatchPlan(data.lengths, options, 3, rank, world)
    return Loader(data, plan, collate(FIELDS, options), **more)


def listed(steps):
    return [[{name: tensor.tolist() for name, tensor in batch.items()} for batch in step] for step in steps]


def test_batches_are_those_of_the_plan(data):
    feed = loader(data)
    steps = list(feed.epoch(1))
    assert len(steps) == feed.steps(1)
    for k, step in enumerate(steps):
        for batch, rows in zip(step, feed.plan.step(1, k), strict=True):
            assert batch["rows"].tolist() == rows.tolist()
            assert batch["input_ids"][0].tolist() == [i for i in rows.tolist() for _ in range(data.lengths[i])]
            assert batch["labels"].tolist() == [i % 2 for i in rows.tolist()]
    feed.close()


@pytest.mark.parametrize("layout", ["unpadded", "bucketed", "padded"])
def test_the_same_for_any_number_of_workers(data, layout):
    alone = listed(loader(data, layout, workers=0).epoch(2))
    for workers, prefetch in ((1, 1), (2, 4), (4, 100)):
        with loader(data, layout, workers=workers, prefetch=prefetch) as feed:
            assert listed(feed.epoch(2)) == alone
            assert listed(feed.epoch(2, start=3)) == alone[3:]


def test_ranks_have_disjoint_shares_of_all_rows(data):
    def rows(feed):
        return [[row for batch in step for row in batch["rows"].tolist()] for step in feed.epoch(0)]

    alone, shared = rows(loader(data)), zip(*(rows(loader(data, rank=rank, world=3)) for rank in range(3)))
    assert [sorted(chain(*parts)) for parts in shared] == list(map(sorted, alone))
    assert sorted(chain(*alone)) == list(range(200))


def test_the_worst_batch_is_the_longest_rows(data):
    worst = loader(data).worst()
    assert worst["lengths"].max() == data.lengths.max() and 98 <= worst["lengths"].sum() <= 100


class Picky(Collate):
    """Refuses row 77, as a damaged picture would be."""

    def arrays(self, columns, rows, width=None):
        if 77 in list(rows):
            raise OSError("image cut short")
        return super().arrays(columns, rows, width)


class Jealous(Collate):
    """Refuses rows only together."""

    def arrays(self, columns, rows, width=None):
        if len(rows) > 1:
            raise OSError("too many")
        return super().arrays(columns, rows, width)


ROW_77 = r"row 77 \(.*train\.txt row 78\) cannot be made a batch of: OSError: image cut short"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_row(data, workers):
    with loader(data, collate=Picky, workers=workers) as feed, pytest.raises(DataError, match=ROW_77):
        list(feed.epoch(0))
    with loader(data, collate=Jealous, workers=workers) as feed, pytest.raises(DataError, match="cannot be made one"):
        list(feed.epoch(0))


def test_processes_bring_the_same_batches_and_errors_and_a_killed_one_is_told(data):
    alone, steps = loader(data, workers=0).epoch(0), []
    with loader(data, collate=Picky, workers=1, kind="process") as feed:
        with pytest.raises(DataError, match=ROW_77):
            for step in feed.epoch(0):
                steps.append(step)
        assert len(steps) > 3 and listed(steps) == listed(islice(alone, len(steps)))
        for process in list(feed._pool._processes.values()):
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(DataError, match="a process that prepares batches was killed"):
            list(feed.epoch(1))


def test_leaving_early_and_coming_back(data):
    with loader(data, workers=2) as feed:
        first = listed([next(feed.epoch(0))])
        steps = feed.epoch(0)
        assert listed([next(steps)]) == first
        steps.close()
        assert listed(feed.epoch(0))[:1] == first
    assert feed._pool is None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data")]
    assert listed([next(feed.epoch(0))]) == first  # closed workers start again
    feed.close()


def test_waiting_is_counted(data):
    feed = loader(data, workers=0)
    assert feed.waited == 0
    list(feed.epoch(0))
    assert feed.waited > 0


def test_pinned_only_where_there_is_cuda(data):
    feed = loader(data, workers=0)
    assert feed.pin == torch.cuda.is_available()
    assert next(feed.epoch(0))[0]["input_ids"].is_pinned() == feed.pin


def test_memory_stays_flat(data):
    feed = loader(data, accumulate=1, workers=2)
    peaks = []
    for _ in range(2):
        for epoch in range(60):
            for _ in feed.epoch(epoch):
                pass
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    feed.close()
    assert np.ptp(peaks) < 8 * 1024  # KiB, over the second 1,700 batches
