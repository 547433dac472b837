"""A mixture holds each data set's share, spread evenly over its rows, and hands out what they hold."""

import numpy as np
import pytest

from trainer.data import sources
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.loader import Loader
from trainer.data.mixture import Mixture
from trainer.data.prepare import prepare
from trainer.errors import DataError
from trainer.options import BatchOptions


def data(folder, name, count, extra=False):
    path = folder / f"{name}.txt"
    path.write_text("".join(f"{name * (i % 5 + 1)} {i}\n" for i in range(count)))

    def process(columns):
        rows = [text.split() for text in columns["text"]]
        made = {"input_ids": [[ord(c) for c in word] for word, _ in rows], "labels": [int(i) for _, i in rows]}
        return made | ({"more": made["labels"]} if extra else {})

    return prepare(sources.read(path), process, key=extra)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    return [data(tmp_path, "a", 10), data(tmp_path, "b", 100)]


def test_shares_and_how_often_each_row_comes(parts):
    mixed = Mixture(parts, [3, 1], 100)
    assert mixed.counts.tolist() == [75, 25] and len(mixed) == 100
    rows = [(chr(row["input_ids"][0]), row["labels"]) for row in mixed.rows(range(100))]
    for name, n, times in (("a", 10, {7, 8}), ("b", 100, {0, 1})):
        assert {rows.count((name, i)) for i in range(n)} == times
    assert mixed.lengths.tolist() == [len(row["input_ids"]) for row in mixed.rows(range(100))]


def test_columns_are_those_of_the_rows_in_their_order(parts):
    mixed = Mixture(parts, [1, 1], 40, seed=2)
    chosen = np.random.default_rng(0).permutation(40)[:17]
    columns, rows = mixed.columns(chosen), mixed.rows(chosen)
    assert columns["labels"].tolist() == [row["labels"] for row in rows]
    ragged = columns["input_ids"]
    pieces = np.split(ragged.values, np.cumsum(ragged.lengths)[:-1])
    assert [p.tolist() for p in pieces] == [row["input_ids"].tolist() for row in rows]
    i = int(chosen[0])
    assert mixed.where(i).endswith(f"{chr(rows[0]['input_ids'][0])}.txt row {rows[0]['labels'] + 1}")


def test_made_again_it_is_the_same_and_can_be_entered_anywhere(parts):
    options = BatchOptions(layout="bucketed", tokens=30, size=None, max_length=5, accumulate=2)

    def epoch(start, seed=0):
        mixed = Mixture(parts, [1, 2], 60, seed)
        collate = Collate((Field("input_ids", "token"), Field("labels", "row")), options)
        with Loader(mixed, BatchPlan(mixed.lengths, options, 7), collate, workers=0) as loader:
            return [[micro["labels"].tolist() for micro in micros] for micros in loader.epoch(1, start)]

    assert epoch(0)[3:] == epoch(3) and epoch(0) != epoch(0, seed=1)


def test_what_cannot_be_mixed(parts, tmp_path):
    with pytest.raises(DataError, match="mixture of 2 data sets needs as many weights, not 1"):
        Mixture(parts, [1], 5)
    with pytest.raises(DataError, match=r"above zero, these are 1, 0"):
        Mixture(parts, [1, 0], 5)
    with pytest.raises(DataError, match="data set 1 of the mixture has the features input_ids, labels, more"):
        Mixture([parts[0], data(tmp_path, "c", 3, extra=True)], [1, 1], 5)
