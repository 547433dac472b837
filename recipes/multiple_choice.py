"""Which of several endings fits a text: each is read with the text, and their scores are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from catalog.outputs import Scored
from recipes.metrics import ALONE, Scores
from trainer.data.collate import Field
from trainer.data.rows import RowError
from trainer.task import Batch

MOST = 32  # endings of a row


@dataclass(frozen=True)
class ChoiceFeatures:
    """Rows of ``context``, ``endings`` and ``label`` -> the texts with each ending, one behind the other, and their ``sizes``.

    Rows may have different numbers of endings. In the columns of SWAG (Zellers et al., 2018, arXiv:1808.05326) ``sent1`` is
    the context, and ``sent2`` begins each of ``ending0`` ... A text longer than ``max_length`` tokens with its ending loses
    the end of the longer of both. RowError for what is no text and for a label that no ending has.
    """

    tokenizer: Any
    max_length: int

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """``input_ids``, ``token_type_ids``, ``sizes`` and ``labels``."""
        contexts, endings = _listed(columns)
        counts = [len(row) for row in endings]
        firsts = [text for text, count in zip(contexts, counts) for _ in range(count)]
        seconds = [ending for row in endings for ending in row]
        ids = self.tokenizer.ids(firsts, seconds, max_length=self.max_length)
        made: dict[str, list] = {"input_ids": [], "token_type_ids": [], "sizes": [], "labels": []}
        start = 0
        for row, (count, label) in enumerate(zip(counts, columns["label"])):
            part, start = slice(start, start + count), start + count
            made["input_ids"].append([token for text in ids.input_ids[part] for token in text])
            types = (
                ids.token_type_ids[part] if ids.token_type_ids else [[0] * len(text) for text in ids.input_ids[part]]
            )
            made["token_type_ids"].append([kind for text in types for kind in text])
            made["sizes"].append([len(text) for text in ids.input_ids[part]])
            made["labels"].append(_label(row, label, count))
        return made

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {"choices": 1, "tokenizer": self.tokenizer.fingerprint, "length": self.max_length}


def _listed(columns: Mapping[str, list]) -> tuple[list[str], list[list[str]]]:
    """The context and the list of endings of each row. RowError where they are none."""
    if "endings" in columns:
        contexts, endings = columns["context"], columns["endings"]
    else:
        contexts, starts = columns["sent1"], columns["sent2"]
        parts = zip(*(columns[name] for name in columns if name.startswith("ending")))
        endings = [[f"{start} {end}" for end in ends] for start, ends in zip(starts, parts)]
    for row, (context, ends) in enumerate(zip(contexts, endings)):
        if not isinstance(context, str) or not context.strip():
            raise RowError(row, f"the text holds {context!r}, which is no text")
        if not isinstance(ends, list) or not all(isinstance(end, str) and end.strip() for end in ends):
            raise RowError(row, f"the endings are {ends!r}, which is no list of texts")
        if not 2 <= len(ends) <= MOST:
            raise RowError(row, f"{len(ends)} endings; a choice has 2 to {MOST}")
    return contexts, endings


def _label(row: int, value: Any, count: int) -> int:
    text = str(value).strip()
    if not text.isdigit() or int(text) >= count:
        none = "; this split has no labels, so it cannot be trained or measured on" if text == "-1" else ""
        raise RowError(row, f"label {text!r} is not the number of an ending, 0 to {count - 1}{none}")
    return int(text)


def fields(tokenizer: Any) -> list[Field]:
    """How features become tensors."""
    types = [Field("token_type_ids", per="token")] if "token_type_ids" in tokenizer.traits.inputs else []
    tokens = [Field("input_ids", per="token", pad=tokenizer.pad_id), *types]
    return [*tokens, Field("sizes", per="own"), Field("labels", per="row")]


class MultipleChoice:
    """The trainer's task of a multiple choice head, on unpadded batches; accuracy."""

    targets = ("labels",)

    def __init__(self, best: str = "accuracy"):
        self.best = (best, "min" if best == "loss" else "max")

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The number of rows."""
        return model.counts(labels=batch["labels"])

    def terms(self, model: nn.Module, batch: Batch):
        """A score for each ending [rows, most endings], and the loss as a sum."""
        output = self._forward(model, batch)
        return output, model.terms(output, labels=batch["labels"])

    def new_metrics(self) -> Scores:
        """Fresh metrics."""
        accuracy = MulticlassAccuracy(MOST, average="micro", **ALONE)
        return Scores({"accuracy": accuracy}, lambda output, batch: (output.logits.argmax(-1), batch["labels"]))

    def predict(self, model: nn.Module, batch: Batch) -> list[tuple[int, float]]:
        """For each row the number of the ending that fits best, and its probability."""
        shares, found = self._forward(model, batch).logits.float().softmax(-1).max(-1)
        return list(zip(found.tolist(), shares.tolist()))

    def _forward(self, model: nn.Module, batch: Batch) -> Scored:
        inputs = {name: batch[name] for name in ("input_ids", "token_type_ids") if name in batch}
        sizes = batch["sizes"]
        scores = model(**inputs, lengths=sizes[sizes > 0], choices=1).logits[:, 0]
        there = torch.full(sizes.shape, torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
        return Scored(logits=there.masked_scatter(sizes > 0, scores))
