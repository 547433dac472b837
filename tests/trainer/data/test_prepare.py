"""Features are made once, stored as they were made, and a refused row is named by file and number."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.data import prepare as module
from trainer.data import sources
from trainer.data.dataset import Ragged
from trainer.data.prepare import prepare
from trainer.data.rows import RowError
from trainer.errors import DataError


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """Caches of the test's own, three rows to the processor, a record batch for every two calls of it."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(module, "WRITE", 150)


def rows(tmp_path, texts):
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{text}\n" for text in texts))
    return sources.read(path)


class Words:
    """A letter a token: its number in the alphabet; the label is the number of words."""

    def __init__(self):
        self.given = []

    def __call__(self, columns):
        self.given.append(len(columns["text"]))
        return {
            "input_ids": [[ord(letter) for letter in text] for text in columns["text"]],
            "score": [len(text) / 2 for text in columns["text"]],
            "labels": [len(text.split()) for text in columns["text"]],
            "weights": [np.array([len(text), 0.5]) for text in columns["text"]],
            "text": columns["text"],
        }


TEXTS = ["one", "two words", "x", "and three words", "y", "zz", "naïve", "last one"]


def test_features_are_what_was_made(tmp_path):
    process = Words()
    data = prepare(rows(tmp_path, TEXTS), process, key="words")
    assert process.given == [3, 3, 2] and len(data) == 8 and data.fields == [
        "input_ids", "score", "labels", "weights", "text"]  # fmt: skip
    assert data.lengths.dtype == np.int32 and data.lengths.tolist() == list(map(len, TEXTS))
    for i, text in enumerate(TEXTS):
        for example in (data[i], data.rows([i])[0], data[i - len(TEXTS)]):
            assert "".join(map(chr, example["input_ids"])) == text == example["text"]
            assert example["score"] == len(text) / 2 and example["labels"] == len(text.split())
            assert type(example["labels"]) is int and example["weights"].tolist() == [len(text), 0.5]
        assert data.where(i).endswith(f"train.txt row {i + 1}")
    with pytest.raises(IndexError, match="example 8 of 8"):
        data[8]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, len(TEXTS) - 1)))
def test_columns_are_the_rows_joined(tmp_path, order):
    data = prepare(rows(tmp_path, TEXTS), Words(), key="words")
    assert len(data._chunks) > 1  # or the hard case is not tried
    columns = data.columns(np.array(order, int))
    assert columns["labels"].tolist() == [data[i]["labels"] for i in order]
    assert columns["text"] == [TEXTS[i] for i in order]
    ids = columns["input_ids"]
    assert isinstance(ids, Ragged) and ids.lengths.tolist() == [len(TEXTS[i]) for i in order]
    assert "".join(map(chr, ids.values)) == "".join(TEXTS[i] for i in order)


def test_columns_outside(tmp_path):
    data = prepare(rows(tmp_path, TEXTS), Words(), key="words")
    with pytest.raises(IndexError, match="examples 0 to 8 of 8"):
        data.columns(np.array([0, 8]))


def test_made_once_for_a_key(tmp_path):
    process, table = Words(), rows(tmp_path, TEXTS)
    prepare(table, process, key=["words", 1])
    prepare(rows(tmp_path, TEXTS), process, key=["words", 1])
    assert len(process.given) == 3
    prepare(table, process, key=["words", 2])
    prepare(table.select([0, 1, 2]), process, key=["words", 1])
    prepare(rows(tmp_path, TEXTS[::-1]), process, key=["words", 1])
    assert len(process.given) == 3 + 3 + 1 + 3


def test_tokens_are_views_of_the_file(tmp_path):
    data = prepare(rows(tmp_path, TEXTS), Words(), key="words")
    first, again = data[3]["input_ids"], data[3]["input_ids"]
    assert np.shares_memory(first, again) and first.dtype == np.int32 and not first.flags.writeable


def test_a_copy_in_another_process_is_the_same(tmp_path):
    data = prepare(rows(tmp_path, TEXTS), Words(), key="words")
    copy = pickle.loads(pickle.dumps(data))
    assert copy[5]["text"] == "zz" and copy.where(5) == data.where(5) and np.array_equal(copy.lengths, data.lengths)


def test_several_features_of_one_row(tmp_path):
    def halves(columns):
        texts = columns["text"]
        return {
            "input_ids": [part for text in texts for part in ([1] * len(text), [2])],
            "row": [i for i, _ in enumerate(texts) for _ in range(2)],
        }

    data = prepare(rows(tmp_path, TEXTS), halves, key="halves")
    assert len(data) == 16 and data[9]["input_ids"].tolist() == [2] and data[8]["input_ids"].tolist() == [1]
    assert data.where(9).endswith("row 5") and "row" not in data.fields


def refuse(columns):
    for i, text in enumerate(columns["text"]):
        if text == "zz":
            raise RowError(i, "label 'zz' is not one of 0, 1")
    return {"input_ids": [[1]] * len(columns["text"])}


def no_tokens(columns):
    return {"input_ids": [[] if text == "zz" else [1] for text in columns["text"]]}


def no_value(columns):
    return {"input_ids": [[1]] * len(columns["text"]), "labels": [None if t == "zz" else 1 for t in columns["text"]]}


def other_type(columns):
    return {"input_ids": [[1]] * len(columns["text"]), "labels": ["b" if "zz" in columns["text"] else 1] * 3}


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (refuse, r"train\.txt row 6: label 'zz' is not one of 0, 1"),
        (no_tokens, r"train\.txt row 6: no tokens"),
        (no_value, r"train\.txt row 6: 'labels' was given no value"),
        (
            other_type,
            r"the rows from .*train\.txt row 4 on were prepared as .*labels: string.*, those before as .*int64",
        ),
    ],
)
def test_a_refused_row_is_named_and_nothing_is_kept(tmp_path, process, message):
    with pytest.raises(DataError, match=message):
        prepare(rows(tmp_path, TEXTS), process, key="bad")
    assert not list((tmp_path / "cache" / "features").glob("bad*/data.arrow"))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"ids": [[1]] * 3}, "made ids, and no 'input_ids'"),
        ({"input_ids": [[1]] * 2}, "made 2 'input_ids' and 2 'input_ids' of 3 rows"),
        ({"input_ids": [[1]] * 3, "labels": [1]}, "made 1 'labels' and 3 'input_ids' of 3 rows"),
        ({"input_ids": [[2**31]] * 3}, "holds 2147483648, more than 32 bits take"),
        ({"input_ids": [["a"]] * 3}, "lists hold numbers"),
    ],
)
def test_a_processor_that_breaks_its_word(tmp_path, made, message):
    with pytest.raises(ValueError, match=message):
        prepare(rows(tmp_path, TEXTS), lambda columns: made, key="wrong")


def test_progress(tmp_path):
    said = []
    prepare(rows(tmp_path, TEXTS), Words(), key="words", say=said.append)
    assert said[0] == "preparing 3 of 8 rows"
