"""token-classification: names and other entities in a text, by the characters they stand at."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from catalog.errors import ConfigError
from catalog.pipelines.base import softmax
from catalog.pipelines.texts import TextPipeline, text_of, trimmed

STRATEGIES = ("none", "simple", "first", "average", "max")
STRIDE = 64  # tokens that two windows of a long text share; each token is judged where more stands around it


class Piece(NamedTuple):
    """A token, or a word: the characters [start, end) of the text, the scores of all labels, and the token's place and word."""

    start: int
    end: int
    scores: np.ndarray
    index: int
    word: int | None


class TokenClassification(TextPipeline):
    """A text -> its entities, ``{"entity_group", "score", "word", "start", "end"}``, ``word`` as it stands in the text.

    strategy  how the tokens of a word agree on a label: that of the ``first``, the ``average`` of the scores, the ``max``
              of all; ``simple`` joins tokens that agree and knows no words; ``none`` gives every token as ``{"entity",
              "score", "index", "word", "start", "end"}``. Labels ``B-`` and ``I-`` make groups
    ignore    labels that are no entity

    A text longer than the model is read in windows; nothing of it is left out.
    """

    of_tokens = True

    def __call__(self, inputs: Any, *, strategy: str = "first", ignore: Sequence[str] = ("O",)) -> Any:
        if strategy not in STRATEGIES:
            raise ConfigError(f"strategy={strategy!r}: one of {', '.join(STRATEGIES)}")
        return self.each(inputs, self._rows, self.run, partial(self._answer, strategy, tuple(ignore)))

    def _rows(self, given, where):
        text = text_of(given, where)
        stride = 0 if self.room is None else min(STRIDE, self.room // 4)
        rows = self.windows(text, stride=stride, extra=("offset_mapping", "special_tokens_mask", "word_ids"))
        for row in rows:
            row["offset_mapping"] = [trimmed(text, *span) for span in row["offset_mapping"]]
        return [dict(row, text=text) for row in rows]

    def _answer(self, strategy, ignore, rows, outputs):
        text, labels = rows[0]["text"], self.config.labels
        found = pieces(rows, [softmax(output["logits"]) for output in outputs])
        if strategy == "none":
            return [
                {"entity": labels[i], "score": float(p.scores[i]), "index": p.index, "word": text[p.start : p.end],
                 "start": p.start, "end": p.end}
                for p in found if labels[i := int(p.scores.argmax())] not in ignore
            ]  # fmt: skip
        found = found if strategy == "simple" else words(found, strategy)
        return [group for group in groups(found, labels, text) if group["entity_group"] not in ignore]


def pieces(rows, scores: Sequence[np.ndarray]) -> list[Piece]:
    """The tokens of a text, in order; of one that several windows hold the scores of the window with most around it."""
    kept: dict[tuple[int, int], tuple[int, Piece]] = {}
    for row, of_row in zip(rows, scores, strict=True):
        for i, ((start, end), special, word) in enumerate(
            zip(row["offset_mapping"], row["special_tokens_mask"], row["word_ids"])
        ):
            around = min(i, len(of_row) - 1 - i)
            if not special and around > kept.get((start, end), (-1,))[0]:
                kept[start, end] = (around, Piece(start, end, of_row[i], i, word))
    return [piece for _, (_, piece) in sorted(kept.items(), key=lambda item: item[0])]


def words(found: Sequence[Piece], strategy: str) -> list[Piece]:
    """The tokens of each word as one piece. ``max`` and ``first`` take one token's scores, ``average`` the mean of them."""
    made = []
    for _, run in groupby(enumerate(found), key=lambda item: -1 - item[0] if item[1].word is None else item[1].word):
        run = [piece for _, piece in run]
        if strategy == "first":
            scores = run[0].scores
        elif strategy == "max":
            scores = max(run, key=lambda piece: piece.scores.max()).scores
        else:
            scores = np.mean([piece.scores for piece in run], axis=0)
        made.append(Piece(run[0].start, run[-1].end, scores, run[0].index, run[0].word))
    return made


def groups(found: Sequence[Piece], labels: Sequence[str], text: str) -> list[dict[str, Any]]:
    """Neighbours of one kind as one entity; ``B-`` begins a new one. The score is the mean of the pieces'."""
    made: list[tuple[str, list[tuple[Piece, float]]]] = []
    for piece in found:
        best = int(piece.scores.argmax())
        begins, kind = _split(labels[best])
        if begins or not made or made[-1][0] != kind:
            made.append((kind, []))
        made[-1][1].append((piece, float(piece.scores[best])))
    return [
        {
            "entity_group": kind,
            "score": sum(score for _, score in run) / len(run),
            "word": text[run[0][0].start : run[-1][0].end],
            "start": run[0][0].start,
            "end": run[-1][0].end,
        }
        for kind, run in made
    ]


def _split(label):
    """(begins an entity, its kind): ``"B-PER"`` -> (True, "PER"); a label without B- or I- is a kind."""
    mark, dash, kind = label.partition("-")
    return (mark == "B", kind) if dash and mark in ("B", "I") else (False, label)
