"""A tag for each word of a text: words aligned to their pieces, names by seqeval, parts of speech by accuracy."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from recipes.metrics import ALONE, Answers, Scores
from trainer.data.collate import Field
from trainer.data.rows import RowError, Rows
from trainer.errors import DataError
from trainer.task import Batch

IGNORE = -100
CHUNKED = re.compile(r"O|[BIES]-.+")  # IOB2, IOBES: where a name begins, goes on, ends, stands alone
INSIDE = ("I-", "E-")


def words_of(value: Any) -> list[str] | None:
    """The words of a row, a list or a text with blanks between them; None for what is neither."""
    if isinstance(value, str):
        return value.split()
    return list(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def texts(rows: Rows) -> Iterator[str]:
    """The words of each row with blanks between them, to learn a vocabulary from."""
    for i, value in enumerate(rows.data["tokens"]):
        words = words_of(value)
        if not words:
            raise DataError(f"{rows.where(i)}: column 'tokens' holds {value!r}, which is no list of words")
        yield " ".join(words)


def named(rows: Rows) -> Rows:
    """The rows with tags by name where a data set of the hub has them as numbers."""
    feature = getattr(rows.data.features["tags"], "feature", None)
    if not isinstance(feature, datasets.ClassLabel):
        return rows
    data = rows.data.cast_column("tags", datasets.List(datasets.Value("int64")))
    return Rows(data.map(_Named(tuple(feature.names))), rows.where, rows.digest, rows.unused)


@dataclass(frozen=True)
class _Named:
    names: tuple[str, ...]

    def __call__(self, row: dict) -> dict:
        return {"tags": [self.names[i] for i in row["tags"]]}


def labels_of(rows: Rows, names: bool) -> tuple[str, ...]:
    """The tags that occur, ``O`` first and then by alphabet. ``names``: DataError for a tag that marks no name."""
    found: dict[str, int] = {}
    for i, value in enumerate(rows.data["tags"]):
        for tag in words_of(value) or ():
            found.setdefault(tag, i)
    strange = next((tag for tag in found if names and not CHUNKED.fullmatch(tag)), None)
    if strange is not None:
        raise DataError(
            f"{rows.where(found[strange])}: tag {strange!r} is neither O nor of the form B-PER, I-PER. Tags that stand "
            "alone, as parts of speech, are for recipe=bert_pos; data.label names another column"
        )
    return tuple(sorted(found, key=lambda tag: (tag != "O", tag)))


@dataclass(frozen=True)
class TagFeatures:
    """Rows of ``tokens`` and ``tags`` -> ids, where a word ``begins``, and a label at its first piece, -100 elsewhere.

    A row longer than ``max_length`` becomes several examples, cut between words and not within a name where one fits
    whole. A word that the tokenizer has no piece for is its unknown token, so that no word is left out. RowError for
    words and tags that differ in number and for a tag that ``labels`` lack.
    """

    tokenizer: Any
    max_length: int
    labels: tuple[str, ...]

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """``input_ids``, ``token_type_ids``, ``begins``, ``labels`` and the ``row`` of each example."""
        rows = [self._checked(row, *pair) for row, pair in enumerate(zip(columns["tokens"], columns["tags"]))]
        found = self.tokenizer([words for words, _ in rows], special_tokens=False, extra=["word_ids"])
        made: dict[str, list] = {"input_ids": [], "token_type_ids": [], "begins": [], "labels": [], "row": []}
        for row, (ids, owners, (words, tags)) in enumerate(zip(found["input_ids"], found["word_ids"], rows)):
            pieces: list[list[int]] = [[] for _ in words]
            for token, word in zip(ids, owners):
                pieces[word].append(token)
            pieces = [(word or [self.tokenizer.unk_id])[: self.max_length - 2] for word in pieces]
            for start, stop in self._parts(pieces, tags):
                inner = [token for word in pieces[start:stop] for token in word]
                marks = [m for word, tag in zip(pieces[start:stop], tags[start:stop]) for m in self._marks(word, tag)]
                made["input_ids"].append([self.tokenizer.cls_id, *inner, self.tokenizer.sep_id])
                made["token_type_ids"].append([0] * (len(inner) + 2))
                made["begins"].append([0, *(int(mark != IGNORE) for mark in marks), 0])
                made["labels"].append([IGNORE, *marks, IGNORE])
                made["row"].append(row)
        return made

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {"tags": 1, "tokenizer": self.tokenizer.fingerprint, "length": self.max_length, "labels": self.labels}

    def _checked(self, row: int, words: Any, tags: Any) -> tuple[list[str], list[str]]:
        given, marks = words_of(words), words_of(tags)
        if not given or not all(given):
            raise RowError(row, f"column 'tokens' holds {words!r}, which is no list of words")
        if marks is None or len(marks) != len(given):
            raise RowError(row, f"{len(given)} words and {len(marks or ())} tags: {' '.join(given)[:60]!r}")
        unknown = next((tag for tag in marks if tag not in self.labels), None)
        if unknown is not None:
            raise RowError(
                row, f"unknown tag {unknown!r}; known are {', '.join(self.labels)}. They are those of the training rows, "
                "or those that options.labels names"
            )  # fmt: skip
        return given, marks

    def _parts(self, pieces: Sequence[list[int]], tags: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Ranges of words that fit into ``max_length``."""
        start = 0
        while start < len(pieces):
            stop, size = start, 2
            while stop < len(pieces) and size + len(pieces[stop]) <= self.max_length:
                size, stop = size + len(pieces[stop]), stop + 1
            if stop < len(pieces):
                stop = next((at for at in range(stop, start, -1) if not tags[at].startswith(INSIDE)), stop)
            yield start, stop
            start = stop

    def _marks(self, word: list[int], tag: str) -> list[int]:
        return [self.labels.index(tag)] + [IGNORE] * (len(word) - 1)


def fields(tokenizer: Any) -> list[Field]:
    """How features become tensors."""
    types = [Field("token_type_ids", per="token")] if "token_type_ids" in tokenizer.traits.inputs else []
    tokens = [Field("input_ids", per="token", pad=tokenizer.pad_id), *types, Field("begins", per="token")]
    return [*tokens, Field("labels", per="token", pad=IGNORE)]


class TokenClassification:
    """The trainer's task of a token classification head.

    names   tags mark names: precision, recall and F1 of whole names by seqeval (as the script ``conlleval`` counts), and
            accuracy of tags; else accuracy of tags alone
    """

    targets = ("labels",)

    def __init__(self, labels: Sequence[str], names: bool, best: str):
        self.labels, self.names, self.best = tuple(labels), names, (best, "min" if best == "loss" else "max")

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The words."""
        return model.counts(labels=batch["labels"])

    def terms(self, model: nn.Module, batch: Batch):
        """The head's output, and its loss as a sum."""
        output = self._forward(model, batch)
        return output, model.terms(output, labels=batch["labels"])

    def new_metrics(self) -> Answers | Scores:
        """Fresh metrics."""
        if self.names:
            return Answers(self._pairs, whole_names)
        accuracy = MulticlassAccuracy(len(self.labels), average="micro", ignore_index=IGNORE, **ALONE)
        return Scores({"accuracy": accuracy}, lambda output, batch: (output.logits.argmax(-1), batch["labels"]))

    def predict(self, model: nn.Module, batch: Batch) -> list[list[str]]:
        """The tag of each word of each row."""
        return self._tags(self._forward(model, batch).logits.argmax(-1), batch)

    def _forward(self, model: nn.Module, batch: Batch):
        return model(**{name: value for name, value in batch.items() if name not in ("labels", "begins", "rows")})

    def _pairs(self, output: Any, batch: Batch) -> list[tuple[list[str], list[str]]]:
        """(what is said, what is right) for each row."""
        said, right = output.logits.argmax(-1), batch["labels"]
        return list(zip(self._tags(said, batch), self._tags(right, batch)))

    def _tags(self, ids: Tensor, batch: Batch) -> list[list[str]]:
        """Ids of tags, one a token, as the tags of the words of each row."""
        begins = batch["begins"].bool()
        if "lengths" in batch:
            sizes = batch["lengths"].tolist()
            ids, begins = ids[0].split(sizes), begins[0].split(sizes)
        return [[self.labels[i] for i in row[at].tolist()] for row, at in zip(ids, begins)]


def whole_names(answers: list[list[str]], references: list[list[str]]) -> dict[str, float]:
    """Precision, recall and F1 of names, and accuracy of tags; a rate without anything to count is 0."""
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

    rates = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    found = {name: rate(references, answers, zero_division=0) for name, rate in rates.items()}
    return {**found, "accuracy": accuracy_score(references, answers)}
