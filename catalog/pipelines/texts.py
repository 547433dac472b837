"""Texts as rows of ids: what the pipelines of text share."""

import inspect
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from catalog.errors import ProcessorError
from catalog.pipelines.base import Pipeline, Row
from catalog.processors.text.padding import pad
from catalog.processors.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class TextPipeline(Pipeline):
    """A pipeline whose rows are ids; they go through PyTorch models unpadded where the model can, else padded."""

    reads: ClassVar[tuple[str, ...]] = ("logits",)  # the model's outputs that answers are made of
    of_tokens: ClassVar[bool] = False  # whether they are one a token, and not one a row

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder, also where it stands beside an image or audio processor."""
        return self.processor if isinstance(self.processor, Tokenizer) else self.processor.tokenizer

    def size(self, row: Row) -> int:
        """Tokens."""
        return len(row["input_ids"])

    @cached_property
    def room(self) -> int | None:
        """The tokens that fit into the model; ``None``: any number."""
        limits = [self.tokenizer.traits.max_length, getattr(self.config, "positions", None)]
        if self.framework == "torch":
            from catalog.layers import LearnedPositions

            limits += [m.num_embeddings - m.offset for m in self.model.modules() if isinstance(m, LearnedPositions)]
        return min((limit for limit in limits if limit is not None), default=None)

    def windows(
        self, text: str, pair: str | None = None, *, truncation="longest_first", stride=0, extra=()
    ) -> list[Row]:
        """The rows of one text (and pair): one, or where it is longer than the model several that overlap by ``stride``."""
        rows = self.tokenizer(
            [text], None if pair is None else [pair], max_length=self.room, truncation=truncation, stride=stride, windows=True,
            extra=extra,
        )  # fmt: skip
        count = len(rows.pop("overflow_to_sample_mapping"))
        rows.setdefault("attention_mask", [[1] * len(ids) for ids in rows["input_ids"]])
        return [{name: column[i] for name, column in rows.items()} for i in range(count)]

    def cut(self, where: str, text: str, pair: str | None = None, truncation="longest_first") -> Row:
        """One row; what the model has no room for is cut off, with a note."""
        first, *more = self.windows(text, pair, truncation=truncation)
        if more:
            log.warning("%s: cut to the %d tokens that the model has room for", where, len(first["input_ids"]))
        return first

    def run(self, rows: Sequence[Row], **fixed: Any) -> list[dict[str, np.ndarray]]:
        """The outputs of each row, those of its tokens without padding."""
        names = [
            n for n in self.tokenizer.traits.inputs if n == "input_ids" or (n != "attention_mask" and self.takes(n))
        ]
        columns = {name: [row[name] for row in rows] for name in names}
        sizes = [self.size(row) for row in rows]
        if self.framework == "torch" and self._unpadded:
            import torch

            packed = {name: np.concatenate(values)[None] for name, values in columns.items()}
            out = self.forward(packed, lengths=torch.tensor(sizes), **fixed)
        else:
            out = self.forward(self._padded(columns, sizes), **fixed)
        found = {name: _of_tokens(out[name], sizes) if self.of_tokens else list(out[name]) for name in self.reads}
        return [dict(zip(found, parts)) for parts in zip(*found.values(), strict=True)]

    def _padded(self, columns, sizes):
        columns["attention_mask"] = [[1] * size for size in sizes]
        fill = {
            "input_ids": self.tokenizer.pad_id or 0,
            "token_type_ids": self.tokenizer.traits.pad_type,
            "attention_mask": 0,
        }
        return {name: np.array(rows) for name, rows in pad(columns, max(sizes), "right", fill).items()}

    @cached_property
    def _unpadded(self):
        return "lengths" in inspect.signature(getattr(self.model, "backbone", self.model).forward).parameters


def _of_tokens(value, sizes):
    """A batch's output of tokens, row by row without padding: [n, T, ...], or [1, total, ...] of an unpadded batch."""
    if len(value) == len(sizes):
        return [row[:size] for row, size in zip(value, sizes)]
    return np.split(value[0], np.cumsum(sizes)[:-1])


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters [start, end) without blanks around them: many tokens begin with the blank before a word."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def text_of(given: Any, where: str) -> str:
    """``given``, if it is a text that says something. Raises ProcessorError."""
    if not isinstance(given, str):
        raise ProcessorError(f"{where}: expected a text, found {type(given).__name__} {str(given)[:40]!r}")
    if not given.strip():
        raise ProcessorError(f"{where}: an empty text")
    return given


def part_of(given: Any, name: str, where: str, also: str | None = None) -> str:
    """The text ``name`` (or spelt ``also``) of a dictionary. Raises ProcessorError naming what the dictionary lacks."""
    if not isinstance(given, dict) and not hasattr(given, "keys"):
        raise ProcessorError(f'{where}: expected a dictionary with "{name}", found {type(given).__name__}')
    key = name if name in given else also
    if key is None or key not in given:
        raise ProcessorError(f'{where}: no "{name}"; it has {", ".join(map(repr, given)) or "nothing"}')
    return text_of(given[key], f'{where}, "{key}"')
