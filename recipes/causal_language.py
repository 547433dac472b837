"""Predicting the next token of running text: documents in packed blocks, perplexity and bits per byte."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recipes.documents import Documents
from recipes.metrics import Judged, Likelihood
from trainer.data.blocks import Blocks
from trainer.data.collate import Field
from trainer.data.order import draw
from trainer.task import Batch

FIELDS = (Field("input_ids", per="token"), Field("sizes", per="row"))


@dataclass(frozen=True)
class CausalFeatures:
    """Rows of text -> documents as ids: the token that begins a text, its tokens, and where a row is a document its end."""

    tokenizer: Any
    document: str

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """``input_ids`` of each document and the ``row`` it begins in."""
        end = self.tokenizer.eos_id
        begin = end if self.tokenizer.bos_id is None else self.tokenizer.bos_id
        made: dict[str, list] = {"input_ids": [], "row": []}
        for row, opens, ids in Documents(self.tokenizer, self.document != "row")(columns):
            made["input_ids"].append([begin] * opens + ids + [end] * (self.document == "row"))
            made["row"].append(row)
        return made

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {"causal": 1, "tokenizer": self.tokenizer.fingerprint, "document": self.document}


@dataclass(frozen=True)
class RowFeatures:
    """The same of rows in any order: a document of each, of one without text the token that ends it alone."""

    features: CausalFeatures

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """``input_ids`` of each row."""
        texts = columns["text"]
        made = self.features({**columns, "opens": [True] * len(texts)})
        found = dict(zip(made["row"], made["input_ids"]))
        return {"input_ids": [found.get(row, [self.features.tokenizer.eos_id]) for row in range(len(texts))]}

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {"rows": 1, **self.features.key()}


@dataclass(frozen=True)
class Window:
    """A loader's ``change``: of a document of more than ``capacity`` tokens a part, in each epoch another. Pure."""

    capacity: int
    seed: int

    def __call__(self, columns: dict[str, Any], rows: np.ndarray, epoch: int) -> dict[str, Any]:
        """The columns with ``input_ids`` cut and their ``sizes`` [n]."""
        parts = []
        for row, ids in zip(rows.tolist(), columns.get("input_ids", ())):
            room = len(ids) - self.capacity
            start = int(draw(self.seed, epoch, row).integers(room + 1)) if room > 0 else 0
            parts.append(ids[start : start + self.capacity])
        return {**columns, "input_ids": parts, "sizes": np.array([len(part) for part in parts], np.int64)}


@dataclass(frozen=True)
class Sized:
    """A loader's ``change`` that says how many tokens each block has, for ``lengths`` are those of its pieces."""

    blocks: Blocks

    def __call__(self, columns: dict[str, Any], rows: np.ndarray, epoch: int) -> dict[str, Any]:
        """The columns with ``sizes`` [n]."""
        return {**columns, "sizes": self.blocks.lengths[rows]}


class CausalLanguage:
    """The trainer's task of a causal LM head on packed blocks.

    bytes_per_token   of the measured text, which makes bits per byte of the loss (Gao et al., 2020, arXiv:2101.00027,
                      section 3.1): loss / ln 2 / bytes_per_token
    """

    targets = ()

    def __init__(self, bytes_per_token: float, best: str = "perplexity"):
        self.bytes_per_token, self.best = bytes_per_token, (best, "min")

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The tokens that have one before them in their piece."""
        return model.counts(labels=batch["input_ids"], lengths=batch["lengths"])

    def terms(self, model: nn.Module, batch: Batch):
        """The head's output with its loss, and the loss as a sum."""
        output = model(batch["input_ids"], lengths=batch["lengths"])
        terms = model.terms(output, labels=batch["input_ids"], lengths=batch["lengths"])
        return Judged(output, terms), terms

    def new_metrics(self) -> Likelihood:
        """Fresh metrics."""
        return Likelihood(self._figures)

    def predict(self, model: nn.Module, batch: Batch) -> list[float]:
        """The mean loss of each block, in nats a token."""
        ids, lengths = batch["input_ids"], batch["lengths"]
        scores = model(ids, lengths=lengths).logits[0].float().log_softmax(-1)
        real = torch.ones_like(ids[0], dtype=torch.bool)
        real[lengths.cumsum(0).roll(1).index_fill(0, torch.tensor(0), 0)] = (
            False  # the first of a piece is not predicted
        )
        found = -scores.roll(1, 0).gather(1, ids[0, :, None])[:, 0].where(real, 0)
        parts = zip(found.split(batch["sizes"].tolist()), real.split(batch["sizes"].tolist()))
        return [float(loss.sum() / kept.sum().clamp_min(1)) for loss, kept in parts]

    def _figures(self, means: Mapping[str, float]) -> dict[str, float]:
        loss = means["loss"]
        return {"perplexity": perplexity(loss), "bits_per_byte": loss / math.log(2) / self.bytes_per_token}


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that is beyond all floating point."""
    return math.exp(loss) if loss < 700 else math.inf
