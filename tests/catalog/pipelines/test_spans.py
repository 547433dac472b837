"""Entities and answers by their characters: on scores made by hand, and over windows of a long text."""

import numpy as np
import pytest
import torch

import catalog
from catalog.pipelines.answers import spans
from catalog.pipelines.texts import trimmed
from catalog.pipelines.tokens import Piece, groups, pieces, words
from tests.catalog.pipelines.conftest import TEXTS

LABELS = ("O", "B-PER", "I-PER", "B-LOC")
TEXT = "Anna Karenina in Oslo Bergen"


def _pieces():
    """Anna Karen|ina in Oslo Bergen; ``ina`` is said to be a place, less surely than ``Karen`` a person."""
    table = [
        (0, 4, (0.1, 0.8, 0.1, 0.0), 0), (5, 10, (0.1, 0.1, 0.6, 0.2), 1), (10, 13, (0.1, 0.0, 0.4, 0.5), 1),
        (14, 16, (0.9, 0.1, 0.0, 0.0), 2), (17, 21, (0.2, 0.0, 0.1, 0.7), 3), (22, 28, (0.1, 0.1, 0.2, 0.6), 4),
    ]  # fmt: skip
    return [Piece(start, end, np.array(scores), i, word) for i, (start, end, scores, word) in enumerate(table)]


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("simple", [("PER", "Anna Karen", 0.7), ("LOC", "ina", 0.5), ("LOC", "Oslo", 0.7), ("LOC", "Bergen", 0.6)]),
        ("first", [("PER", "Anna Karenina", 0.7), ("LOC", "Oslo", 0.7), ("LOC", "Bergen", 0.6)]),
        ("average", [("PER", "Anna Karenina", 0.65), ("LOC", "Oslo", 0.7), ("LOC", "Bergen", 0.6)]),
        ("max", [("PER", "Anna Karenina", 0.7), ("LOC", "Oslo", 0.7), ("LOC", "Bergen", 0.6)]),
    ],
)
def test_entities_of_scores_made_by_hand(strategy, wanted):
    found = _pieces() if strategy == "simple" else words(_pieces(), strategy)
    got = [g for g in groups(found, LABELS, TEXT) if g["entity_group"] != "O"]
    assert [(g["entity_group"], g["word"]) for g in got] == [(kind, word) for kind, word, _ in wanted]
    assert [g["score"] for g in got] == pytest.approx([score for *_, score in wanted])
    assert all(TEXT[g["start"] : g["end"]] == g["word"] for g in got)


def test_max_takes_the_surest_token():
    sure = [piece._replace(scores=np.array((0, 0, 0, 1.0))) if piece.start == 10 else piece for piece in _pieces()]
    assert [g["entity_group"] for g in groups(words(sure, "max"), LABELS, TEXT)][:2] == ["PER", "LOC"]


def test_a_token_of_two_windows_is_judged_in_its_middle():
    row = {"special_tokens_mask": [1, 0, 0, 0, 1], "word_ids": [None, 0, 1, 2, None]}
    left = row | {"offset_mapping": [(0, 0), (0, 1), (2, 3), (4, 5), (0, 0)]}
    right = row | {"offset_mapping": [(0, 0), (2, 3), (4, 5), (6, 7), (0, 0)]}
    found = pieces([left, right], [np.full((5, 2), 0.1), np.full((5, 2), 0.2)])
    assert [(p.start, float(p.scores[0])) for p in found] == [(0, 0.1), (2, 0.1), (4, 0.2), (6, 0.2)]


def test_token_classification_is_what_it_is_by_hand(folder, tokenizer):
    path = folder("bert", "token-classification", labels=LABELS)
    do = catalog.pipeline("token-classification", path)
    rows = tokenizer([TEXTS[1]], extra=("offset_mapping",))
    offsets = rows.pop("offset_mapping")[0]
    with torch.no_grad():
        shares = catalog.load(path)(**{k: torch.tensor(v) for k, v in rows.items()}).logits[0].softmax(-1)
    found = do(TEXTS[1], strategy="none", ignore=())
    assert [(t["start"], t["end"]) for t in found] == list(offsets[1:-1])
    assert [t["entity"] for t in found] == [LABELS[i] for i in shares.argmax(-1)[1:-1]]
    assert [t["score"] for t in found] == pytest.approx(shares.max(-1).values[1:-1].tolist(), abs=1e-5)
    long = " ".join(TEXTS * 5)
    whole = do(long, strategy="none", ignore=())
    assert "".join(t["word"] for t in whole) == long.replace(" ", "")  # nothing is left out of a text of many windows


def test_blanks_in_tokens_are_no_part_of_what_is_found():
    assert trimmed("in Oslo ", 2, 8) == (3, 7) and trimmed("in Oslo", 3, 7) == (3, 7)
    assert len({*trimmed("a  b", 1, 3)}) == 1  # nothing but blanks is nothing


def test_spans_of_scores_made_by_hand():
    start, end = np.array([0.1, 0.6, 0.3]), np.array([0.5, 0.1, 0.4])
    assert spans(start, end, 3, 2) == [
        (pytest.approx(0.24), 1, 2),
        (pytest.approx(0.12), 2, 2),
    ]  # never end before start
    assert spans(start, end, 1, 1)[0][1:] == (2, 2)


def test_question_answering_is_what_it_is_by_hand(folder, tokenizer):
    path = folder("bert", "question-answering")
    do = catalog.pipeline("question-answering", path)
    asked, context = "no film", TEXTS[0]
    rows = tokenizer([asked], [context], extra=("offset_mapping",))
    (offsets,), types = rows.pop("offset_mapping"), rows["token_type_ids"][0]
    with torch.no_grad():
        out = catalog.load(path)(**{k: torch.tensor(v) for k, v in rows.items()})
    inside = [i for i, kind in enumerate(types) if kind == 1][:-1]
    keep = [0, *inside]
    start, end = (dict(zip(keep, s[0, keep].softmax(-1).tolist())) for s in (out.start_logits, out.end_logits))
    score, a, b = max((start[a] * end[b], a, b) for a in inside for b in inside if a <= b)
    found = do({"question": asked, "context": context})
    assert found["score"] == pytest.approx(score, abs=1e-5)
    assert (found["start"], found["end"]) == (offsets[a][0], offsets[b][1])
    assert found["answer"] == context[found["start"] : found["end"]]
    many = do({"question": asked, "context": context}, top_k=100, handle_impossible_answer=True)
    (empty,) = (item for item in many if item["answer"] == "")
    assert empty["score"] == pytest.approx(start[0] * end[0], abs=1e-5)
    assert [item["score"] for item in many] == sorted((item["score"] for item in many), reverse=True)
    long = " ".join(TEXTS * 5)
    found = do([{"question": asked, "context": long}, {"question": "no", "context": context}], top_k=10**4, stride=6)
    assert {item["end"] for item in found[0]} >= {len(long)} and len(found[0]) > 3 * len(found[1])  # to the last window
