"""Masking: how much is hidden and how, the same for the same seed, epoch and row; pairs that follow or do not."""

import numpy as np
import pytest

from catalog.processors import text
from recipes.masked_language import SegmentFeatures, masking
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


def test_half_of_the_second_parts_are_from_elsewhere(tokenizer):
    words = [f"{' '.join([w] * 12)}" for w in ("men", "women", "thing", "done")] * 25
    made = SegmentFeatures(tokenizer, 32, "row", pairs=True)({"text": words, "opens": [True] * 100})
    labels = np.array(made["next_sentence_label"])
    assert 0.3 < labels.mean() < 0.7
    for ids, types, label in zip(made["input_ids"], made["token_type_ids"], labels):
        first = [i for i, t in zip(ids, types) if not t][1:-1]
        second = [i for i, t in zip(ids, types) if t][:-1]
        assert len(ids) <= 32 and ids[0] == tokenizer.cls_id and second
        assert label or set(second) == set(first)  # a text of one word goes on with it
