"""Guessing hidden tokens, and whether a text goes on: BERT's pre-training. Features, masking, loss and metrics.

Devlin et al., 2018, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805, section 3.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from recipes.causal_language import perplexity
from recipes.documents import Documents
from recipes.metrics import ALONE, Judged, Likelihood, Scores, Together
from trainer.data.collate import Field
from trainer.data.dataset import Dataset, Ragged
from trainer.data.order import draw
from trainer.task import Batch

IGNORE = -100
SHORTEST = 8  # tokens of a segment that is worth a guess; what is left of a document after the last whole one
FOLLOWS, ELSEWHERE = 0, 1  # as published
AROUND = 3  # tokens of a pair that are no text
DIVISIBLE = 4  # tokens that a segment needs for two parts
TRIES = 8
RESERVED = 0x5E9  # keeps the draws of pairs apart from those of masks


@dataclass(frozen=True)
class SegmentFeatures:
    """Rows of text -> segments of documents between the tokens that begin and end one, at most ``max_length`` long.

    With ``pairs`` two tokens end a segment; :class:`Pairing` moves one of them between its parts.
    """

    tokenizer: Any
    max_length: int
    document: str
    pairs: bool = False

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """``input_ids``, ``token_type_ids``, and the ``row`` that a segment's document begins in."""
        cls, ends = self.tokenizer.cls_id, [self.tokenizer.sep_id] * (1 + self.pairs)
        width, least = self.max_length - 1 - len(ends), DIVISIBLE if self.pairs else 1
        made: dict[str, list] = {"input_ids": [], "token_type_ids": [], "row": []}
        for row, _, ids in Documents(self.tokenizer, lines=False)(columns):
            for start in range(0, len(ids), width):
                segment = ids[start : start + width]
                if len(segment) >= (SHORTEST if start else least):
                    made["input_ids"].append([cls, *segment, *ends])
                    made["token_type_ids"].append([0] * (1 + len(segment) + len(ends)))
                    made["row"].append(row)
        return made

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {
            "segments": 2, "tokenizer": self.tokenizer.fingerprint, "length": self.max_length,
            "document": self.document, "pairs": self.pairs,
        }  # fmt: skip


@dataclass(frozen=True)
class Pairing:
    """A loader's ``change`` that makes two texts of each segment, anew in each epoch, and then hides tokens.

    A segment is cut at a place in its middle half. Half of the second parts are replaced by as many tokens of another
    segment of ``data``, its last ones, for the true second part also runs to an end; where none of ``TRIES`` segments is
    long enough the true one stays. ``next_sentence_label`` is 0 where the second part follows, 1 where it is from
    elsewhere. Pure: seed, epoch and row decide.
    """

    data: Dataset
    seed: int
    sep: int
    hide: "Masking"

    def __call__(self, columns: dict[str, Any], rows: np.ndarray, epoch: int) -> dict[str, Any]:
        """The columns with paired and masked ``input_ids``, their ``token_type_ids`` and ``next_sentence_label`` [n]."""
        ids, lengths = columns["input_ids"]
        paired, types, labels = ids.copy(), np.zeros_like(ids), np.full(len(rows), FOLLOWS)
        for at, (row, end, length) in enumerate(zip(rows.tolist(), np.cumsum(lengths).tolist(), lengths.tolist())):
            rng, size = draw(self.seed ^ RESERVED, epoch, row), length - AROUND
            cut = int(rng.integers(size // 4, size - size // 4))
            begin, second = end - length + 1 + cut, size - cut  # where the second part begins, and its tokens
            if rng.random() < 0.5 and (other := self._other(row, second, rng)) is not None:
                labels[at] = ELSEWHERE
            else:
                other = ids[begin : begin + second]
            paired[begin], paired[begin + 1 : begin + 1 + second] = self.sep, other
            types[begin + 1 : end] = 1
        made = {**columns, "input_ids": Ragged(paired, lengths), "token_type_ids": Ragged(types, lengths)}
        return self.hide({**made, "next_sentence_label": labels}, rows, epoch)

    def _other(self, row: int, wanted: int, rng: np.random.Generator) -> np.ndarray | None:
        """The last ``wanted`` tokens of another segment."""
        if len(self.data) < 2:
            return None
        found = (row + rng.integers(1, len(self.data), TRIES)) % len(self.data)
        long = found[self.data.lengths[found] - AROUND >= wanted]
        return self.data[long[0]]["input_ids"][:-2][-wanted:] if len(long) else None


@dataclass(frozen=True)
class Masking:
    """A loader's ``change`` that hides tokens: a pure function of seed, epoch and row.

    Of each row the ``share`` of its tokens (one at least) is to be guessed, special ones never; ``inner`` [vocab] tells the
    pieces inside a word, whose words are chosen whole. Of the tokens to guess 80% are hidden by ``mask``, 10% replaced by any
    other of the vocabulary and 10% left as they are. ``labels`` are the tokens to guess, -100 elsewhere.
    """

    seed: int
    share: float
    mask: int
    special: np.ndarray
    ordinary: np.ndarray
    inner: np.ndarray | None = None

    def __call__(self, columns: dict[str, Any], rows: np.ndarray, epoch: int) -> dict[str, Any]:
        """The columns with masked ``input_ids`` and their ``labels``."""
        ids, lengths = columns["input_ids"]
        hidden, labels = ids.copy(), np.full(len(ids), IGNORE, dtype=ids.dtype)
        for row, end, length in zip(rows.tolist(), np.cumsum(lengths).tolist(), lengths.tolist()):
            rng, part = draw(self.seed, epoch, row), slice(end - length, end)
            at = self._chosen(ids[part], rng)
            labels[part][at] = ids[part][at]
            kinds = rng.random(len(at))
            hidden[part][at[kinds < 0.8]] = self.mask
            other = at[(kinds >= 0.8) & (kinds < 0.9)]
            hidden[part][other] = rng.choice(self.ordinary, len(other))
        return {**columns, "input_ids": Ragged(hidden, lengths), "labels": Ragged(labels, lengths)}

    def _chosen(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Positions to guess, ascending."""
        able = np.flatnonzero(~np.isin(ids, self.special))
        count = max(1, round(self.share * len(able)))
        if self.inner is None or not len(able):
            return np.sort(rng.permutation(able)[:count])
        begins = ~self.inner[ids[able]] | (np.diff(able, prepend=-2) > 1)
        words = np.split(able, np.flatnonzero(begins)[1:])
        taken: list[int] = []
        for word in rng.permutation(len(words)):  # as published: a word that would be too much is left out
            if not taken or len(taken) + len(words[word]) <= count:
                taken.extend(words[word].tolist())
        return np.sort(np.array(taken))


def masking(tokenizer: Any, share: float, whole_word: bool, seed: int) -> Masking:
    """The masking for this tokenizer."""
    special = np.array(sorted(set(tokenizer.special_ids.values())))
    pieces = tokenizer.vocabulary()
    inner = np.zeros(max(pieces.values()) + 1, dtype=bool)
    inner[[i for piece, i in pieces.items() if piece.startswith("##")]] = True
    ordinary = np.setdiff1d(np.array(list(pieces.values())), special)
    return Masking(seed, share, tokenizer.mask_id, special, ordinary, inner if whole_word else None)


def fields(tokenizer: Any, pairs: bool) -> list[Field]:
    """How features become tensors."""
    made = [
        Field("input_ids", per="token", pad=tokenizer.pad_id),
        Field("token_type_ids", per="token"),
        Field("labels", per="token", pad=IGNORE),
    ]
    return [*made, *([Field("next_sentence_label", per="row")] if pairs else [])]


class MaskedLanguage:
    """The trainer's task of a masked LM head, or with ``pairs`` of the head for both of BERT's tasks."""

    def __init__(self, pairs: bool = False, best: str = "perplexity"):
        self.pairs, self.best = pairs, (best, "max" if best == "next_sentence_accuracy" else "min")
        self.targets = ("labels", "next_sentence_label") if pairs else ("labels",)

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The tokens to guess, and with pairs the pairs."""
        return model.counts(**{name: batch[name] for name in self.targets})

    def terms(self, model: nn.Module, batch: Batch):
        """The head's output with its loss, and the loss as sums."""
        output = self._forward(model, batch)
        terms = model.terms(output, **{name: batch[name] for name in self.targets})
        return Judged(output, terms), terms

    def new_metrics(self) -> Likelihood | Together:
        """Fresh metrics."""
        if not self.pairs:
            return Likelihood(lambda means: {"perplexity": perplexity(means["loss"])})
        accuracy = {"next_sentence_accuracy": MulticlassAccuracy(2, average="micro", **ALONE)}
        return Together(
            Likelihood(lambda means: {"perplexity": perplexity(means["masked_lm"])}), Scores(accuracy, _relations)
        )

    def predict(self, model: nn.Module, batch: Batch) -> list[list[float]]:
        """For each row, the best score of each token's place."""
        output = self._forward(model, batch)
        logits = output.prediction_logits if self.pairs else output.logits
        best = logits.float().amax(-1)
        if "lengths" in batch:
            return [row.tolist() for row in best[0].split(batch["lengths"].tolist())]
        return [row[kept.bool()].tolist() for row, kept in zip(best, batch["attention_mask"])]

    def _forward(self, model: nn.Module, batch: Batch):
        return model(**{name: value for name, value in batch.items() if name not in (*self.targets, "rows")})


def _relations(output: Judged, batch: Batch) -> tuple[Tensor, Tensor]:
    return output.output.seq_relationship_logits.argmax(-1), batch["next_sentence_label"]
