"""Choosing a label, or a number, for a text or a pair of texts: features, loss and metrics."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy, MulticlassMatthewsCorrCoef
from torchmetrics.regression import PearsonCorrCoef, SpearmanCorrCoef

from recipes.metrics import ALONE, Scores
from trainer.data.collate import Field
from trainer.data.rows import RowError
from trainer.task import Batch

METRICS = {  # name -> from the number of classes; all are the larger the better
    "accuracy": lambda classes: MulticlassAccuracy(classes, average="micro", **ALONE),
    "f1": lambda classes: BinaryF1Score(**ALONE),  # of class 1, as published for MRPC and QQP
    "matthews": lambda classes: MulticlassMatthewsCorrCoef(classes, **ALONE),
    "pearson": lambda classes: PearsonCorrCoef(**ALONE).set_dtype(torch.float64),
    "spearman": lambda classes: SpearmanCorrCoef(**ALONE).set_dtype(torch.float64),
}


@dataclass(frozen=True)
class Features:
    """Rows of text -> ids, token types and label; ``labels`` are the names of the classes, ``None`` for a number."""

    tokenizer: Any
    max_length: int
    text: tuple[str, ...]
    labels: tuple[str, ...] | None

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """One list a feature. Raises RowError for a text that is none and a label that the task does not have."""
        texts = [_texts(columns[name], name) for name in self.text]
        ids = self.tokenizer.ids(*texts, max_length=self.max_length)
        made = {"input_ids": ids.input_ids}
        if ids.token_type_ids is not None:
            made["token_type_ids"] = ids.token_type_ids
        if "label" in columns:
            made["labels"] = [self.label(value, row) for row, value in enumerate(columns["label"])]
        return made

    def label(self, value: Any, row: int) -> int | float:
        """The id of a class given by name or id, or the number."""
        text = str(value).strip()
        if self.labels is None:
            number = _number(text)
            if number is None or not math.isfinite(number):
                raise RowError(row, f"label {text!r} is not a number")
            return number
        if text in self.labels:
            return self.labels.index(text)
        names = ", ".join(f"{name} ({i})" for i, name in enumerate(self.labels))
        number = _number(text)
        if number is None:
            raise RowError(row, f"unknown label {text!r}; this task has {names}")
        if number == -1:
            raise RowError(row, "label -1: this split has no labels, so it cannot be trained or measured on")
        if number not in range(len(self.labels)):
            raise RowError(row, f"label {text} is outside 0 to {len(self.labels) - 1}: {names}")
        return int(number)

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {
            "tokenizer": self.tokenizer.fingerprint,
            "length": self.max_length,
            "text": self.text,
            "labels": self.labels,
        }


def _texts(column: list, name: str) -> list[str]:
    for row, text in enumerate(column):
        if not isinstance(text, str):
            raise RowError(row, f"column {name!r} holds {text!r}, which is not text")
    return column


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def fields(names: Sequence[str], pad: int, labels: Sequence[str] | None) -> list[Field]:
    """How the features of these ``names`` become tensors."""
    label = Field("labels", per="row", dtype="float32" if labels is None else "int64")
    known = [Field("input_ids", per="token", pad=pad), Field("token_type_ids", per="token"), label]
    return [field for field in known if field.name in names]


class TextClassification:
    """The trainer's task of a sequence classification head.

    labels    names of the classes by id; ``None``: one number, by squared error
    metrics   names of ``METRICS``; ``best`` picks the best model, the first of them unless given
    """

    targets = ("labels",)

    def __init__(self, labels: Sequence[str] | None, metrics: Sequence[str], best: str | None = None):
        self.labels, self.metrics = labels, tuple(metrics)
        self.best = (best or self.metrics[0], "min" if best == "loss" else "max")

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The number of labels."""
        return model.counts(labels=batch["labels"])

    def terms(self, model: nn.Module, batch: Batch):
        """The head's output, and its loss as a sum."""
        output = self._forward(model, batch)
        return output, model.terms(output, labels=batch["labels"])

    def new_metrics(self) -> Scores:
        """Fresh metrics."""
        classes = len(self.labels or ())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Metric `Spearman")  # it keeps all numbers, one a row
            return Scores({name: METRICS[name](classes) for name in self.metrics}, self._pairs)

    def predict(self, model: nn.Module, batch: Batch) -> list[tuple[str, float] | float]:
        """For each text its label and the label's probability, or its number."""
        logits = self._forward(model, batch).logits.float()
        if self.labels is None:
            return logits[:, 0].tolist()
        shares, found = logits.softmax(-1).max(-1)
        return [(self.labels[i], share) for i, share in zip(found.tolist(), shares.tolist())]

    def _forward(self, model: nn.Module, batch: Batch):
        return model(**{name: value for name, value in batch.items() if name not in ("labels", "rows")})

    def _pairs(self, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.labels is None:
            return output.logits[:, 0].double(), batch["labels"].double()
        return output.logits.argmax(-1), batch["labels"]
