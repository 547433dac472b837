"""Pieces of bytes learnt from a text: any text comes back, the pairs joined are those that occur most."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import ProcessorError
from catalog.processors.text import Tokenizer, train_bytes

TEXTS = ["low lower lowest", "new newer newest", "wide wider widest"] * 6
LEARNT = train_bytes(TEXTS, 280)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_text_comes_back(text):
    (ids,) = LEARNT.ids([text]).input_ids
    assert LEARNT.decode(ids) == text


def test_the_most_frequent_pairs_are_joined_first():
    """By hand: of "aab ab" three times, "ab" is there six times, and then " ab" and "aab" three times each."""
    made = train_bytes(["aab ab"] * 3, 257 + 2)
    vocab = made.vocabulary()
    assert vocab["<|endoftext|>"] == 0 and vocab["ab"] == 257 and len(made) == 259
    assert made.tokens("ab") == ["ab"]


def test_learning_is_repeatable_and_stops_where_nothing_occurs_twice():
    again = train_bytes(TEXTS, 280)
    assert again.vocabulary() == LEARNT.vocabulary() and again.fingerprint == LEARNT.fingerprint
    assert len(train_bytes(["abcdef"], 5000)) == 257, "pairs that occur once are not joined"
    assert len(LEARNT) <= 280 and len(LEARNT.tokens("lower")) < len("lower")


def test_special_tokens_come_first_and_a_size_below_the_bytes_is_refused():
    made = train_bytes(TEXTS, 300, special=("<|endoftext|>", "<pad>"))
    assert (made.id_of("<|endoftext|>"), made.id_of("<pad>")) == (0, 1)
    with pytest.raises(ProcessorError, match="vocab_size=200 is less than the 257 special tokens and bytes"):
        train_bytes(TEXTS, 200)


def test_saved_and_loaded_gives_the_same(tmp_path):
    LEARNT.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == LEARNT.fingerprint and again.ids(TEXTS) == LEARNT.ids(TEXTS)
    assert again.eos_id == 0
