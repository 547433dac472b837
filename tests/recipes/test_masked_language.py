"""Masking: how much is hidden and how, the same for the same seed, epoch and row; pairs that follow or do not."""

import numpy as np
import pytest

from catalog.processors import text
from recipes.masked_language import Pairing, SegmentFeatures, masking
from trainer.data.dataset import Ragged

TEXTS = ["an unbelievable unthinkable undoing of the thing was done by men and women"] * 40


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_wordpiece(TEXTS, 60)


def columns(tokenizer, count=200):
    ids = tokenizer.ids(TEXTS[:1] * count).input_ids
    return {"input_ids": Ragged(np.concatenate(ids), np.array([len(row) for row in ids]))}


def test_shares_of_hidden_replaced_and_kept_tokens(tokenizer):
    given = columns(tokenizer)
    made = masking(tokenizer, 0.15, False, 0)(given, np.arange(200), 0)
    before, after, labels = given["input_ids"].values, made["input_ids"].values, made["labels"].values
    chosen = labels != -100
    assert np.array_equal(labels[chosen], before[chosen]) and np.array_equal(after[~chosen], before[~chosen])
    length = int(given["input_ids"].lengths[0])
    assert np.array_equal(chosen.reshape(200, length).sum(1), [round(0.15 * (length - 2))] * 200)
    assert (after[chosen] == tokenizer.mask_id).mean() == pytest.approx(0.8, abs=0.05)
    assert (after[chosen] == before[chosen]).mean() == pytest.approx(0.1, abs=0.05)
    assert not np.isin(before[chosen], [tokenizer.cls_id, tokenizer.sep_id]).any()


def test_masks_follow_from_seed_epoch_and_row_alone(tokenizer):
    hide, given = masking(tokenizer, 0.15, False, 3), columns(tokenizer, 4)
    whole = hide(given, np.arange(4), 1)["labels"].values.reshape(4, -1)
    alone = hide(columns(tokenizer, 1), np.array([2]), 1)["labels"].values
    assert np.array_equal(whole[2], alone)
    assert not np.array_equal(alone, hide(columns(tokenizer, 1), np.array([2]), 2)["labels"].values)
    assert len({row.tobytes() for row in whole}) > 1


def test_whole_words_are_hidden_with_all_their_pieces(tokenizer):
    made = masking(tokenizer, 0.3, True, 0)(columns(tokenizer), np.arange(200), 0)
    pieces = tokenizer.vocabulary()
    inner = {i for piece, i in pieces.items() if piece.startswith("##")}
    row = tokenizer.ids(TEXTS[:1]).input_ids[0]
    assert inner & set(row)
    for labels in made["labels"].values.reshape(200, -1):
        for at, token in enumerate(row):
            if token in inner:
                assert (labels[at] == -100) == (labels[at - 1] == -100)


class Segments(list):
    """Segments as a data set hands them out."""

    def __init__(self, made):
        super().__init__({"input_ids": np.array(ids)} for ids in made["input_ids"])
        self.lengths = np.array([len(row["input_ids"]) for row in self])

    def columns(self, rows):
        ids = np.concatenate([self[i]["input_ids"] for i in rows])
        return {"input_ids": Ragged(ids, self.lengths[rows]), "token_type_ids": Ragged(0 * ids, self.lengths[rows])}


@pytest.fixture(scope="module")
def pairing(tokenizer):
    words = [" ".join([w] * n) for n in (9, 12) for w in ("men", "women", "thing", "done")] * 25
    made = SegmentFeatures(tokenizer, 32, "row", pairs=True)({"text": words, "opens": [True] * 200})
    return Pairing(Segments(made), 5, tokenizer.sep_id, masking(tokenizer, 0.15, False, 5))


def split(made):
    """(first part, second part, label) of each pair, what was hidden put back."""
    ids = np.where(made["labels"].values == -100, made["input_ids"].values, made["labels"].values)
    ends = np.cumsum(made["input_ids"].lengths)[:-1]
    for row, types, label in zip(
        np.split(ids, ends), np.split(made["token_type_ids"].values, ends), made["next_sentence_label"]
    ):
        yield row[types == 0].tolist(), row[types == 1].tolist(), int(label)


def test_half_of_the_second_parts_are_from_elsewhere(tokenizer, pairing):
    rows = np.arange(200)
    pairs = list(split(pairing(pairing.data.columns(rows), rows, 0)))
    assert 0.4 < np.mean([label for _, _, label in pairs]) < 0.6
    for (first, second, label), whole in zip(pairs, pairing.data):
        assert first[0] == tokenizer.cls_id and first[-1] == second[-1] == tokenizer.sep_id
        assert tokenizer.sep_id not in second[:-1] and second[:-1]
        assert len(first) + len(second) == len(whole["input_ids"])
        if not label:
            assert [*first[:-1], *second, tokenizer.sep_id] == whole["input_ids"].tolist()
        else:
            assert any(second == other["input_ids"][:-1][-len(second) :].tolist() for other in pairing.data)
    elsewhere = [set(first[1:-1]) != set(second[:-1]) for first, second, label in pairs if label]
    assert 0.6 < np.mean(elsewhere) < 0.9, "of four words as many, so that three in four are another one"


def test_pairs_are_drawn_anew_in_each_epoch_and_follow_from_seed_epoch_and_row(pairing):
    rows = np.arange(200)
    first, second = (list(split(pairing(pairing.data.columns(rows), rows, epoch))) for epoch in (0, 1))
    assert 0.3 < np.mean([a[2] != b[2] for a, b in zip(first, second)]) < 0.7
    assert sum(len(a[0]) != len(b[0]) for a, b in zip(first, second)) > 50
    few = np.array([17, 3])
    assert list(split(pairing(pairing.data.columns(few), few, 0))) == [first[17], first[3]]


def test_a_segment_alone_goes_on_with_itself(tokenizer):
    made = SegmentFeatures(tokenizer, 32, "row", pairs=True)({"text": TEXTS[:1], "opens": [True]})
    alone = Pairing(Segments(made), 0, tokenizer.sep_id, masking(tokenizer, 0.15, False, 0))
    labels = [alone(alone.data.columns([0]), np.array([0]), epoch)["next_sentence_label"][0] for epoch in range(8)]
    assert labels == [0] * 8
