"""Features of some examples -> one batch of tensors, in the layout that the model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from trainer.data.dataset import Ragged
from trainer.options import BatchOptions


@dataclass(frozen=True)
class Field:
    """What a feature is.

    per     "token": a number a token, or a row of numbers [length, ...], so it is joined or padded; "row": a number or
            an array of one shape a row: class labels, positions of a span within its own row, pixels [3, H, W]; "own": a
            list whose length is the row's own and not that of its tokens, as the target text of a translation, the
            characters of a recording, the boxes [objects, 4] of an image: padded in every layout
    pad     what stands behind the end of a short row; labels take the value that the loss leaves out
    dtype   of the tensor
    """

    name: str
    per: Literal["token", "row", "own"]
    pad: int | float = 0
    dtype: Literal["int64", "float32"] = "int64"


@dataclass(frozen=True)
class Collate:
    """Batches of ``fields``; the first field per token tells the lengths. Tokens may be samples of a waveform, too.

    unpadded          fields per token [1, total, ...], ``lengths`` [n] int64 of the rows, in order; no mask
    all others        fields per token [n, T, ...] with ``attention_mask`` int64 [n, T], 1 for tokens; T is the width
                      that is given, else ``max_length`` in the padded layout, else the longest row's length
    all               fields per row [n, ...]; fields of own length [n, longest, ...]; ``rows`` int64 [n], the examples'
                      numbers. Without a field per token there is neither mask nor lengths
    """

    fields: tuple[Field, ...]
    options: BatchOptions

    def __call__(self, features: Sequence[dict], rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """``features``, one dict a row, as tensors."""
        columns = {field.name: [feature[field.name] for feature in features] for field in self.fields}
        return tensors(self.arrays(columns, rows))

    def arrays(
        self, columns: dict[str, Ragged | np.ndarray | list], rows: Sequence[int], width: int | None = None
    ) -> dict[str, np.ndarray]:
        """The same from whole columns (``Dataset.columns``, or lists of one entry a row) to arrays, which are cheap to
        pass between processes."""
        columns = {field.name: _joined(columns[field.name] if len(rows) else [], field) for field in self.fields}
        unpadded, batch = self.options.layout == "unpadded", {}
        first = next((field.name for field in self.fields if field.per == "token"), None)
        if first is not None:
            lengths = columns[first].lengths
            longest = int(lengths.max(initial=0))
            width = width or (self.options.max_length if self.options.layout == "padded" else longest)
            if unpadded:
                batch["lengths"] = lengths
            elif longest > width:
                raise ValueError(f"{first!r} has {longest:,} entries in a batch that is {width:,} wide")
            else:
                batch["attention_mask"] = (np.arange(width) < lengths[:, None]).astype(np.int64)
        for field in self.fields:
            column = columns[field.name]
            if field.per == "row":
                batch[field.name] = _stacked(column, field).astype(field.dtype, copy=False)
                continue
            if field.per == "own":
                batch[field.name] = _padded(column, field, int(column.lengths.max(initial=0)))
                continue
            if not np.array_equal(column.lengths, lengths):
                raise ValueError(f"{field.name!r} and {first!r} differ in length")
            if unpadded:
                batch[field.name] = column.values.astype(field.dtype, copy=False)[None]
            else:
                batch[field.name] = _padded(column, field, width)
        batch["rows"] = np.array(rows, dtype=np.int64)
        return batch


def _joined(values: Ragged | np.ndarray | list, field: Field) -> Ragged | np.ndarray:
    if not isinstance(values, list):
        return values
    if field.per != "row":
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        held = [value for value in values if len(value)]
        return Ragged(np.concatenate(held) if held else np.zeros(0, field.dtype), lengths)
    if len({np.shape(value) for value in values}) > 1:
        shapes = sorted({np.shape(value) for value in values})
        raise ValueError(f"{field.name!r} has rows of several shapes: {', '.join(map(str, shapes))}")
    return np.stack(values) if values else np.zeros(0, field.dtype)


def _stacked(column: Ragged | np.ndarray, field: Field) -> np.ndarray:
    if not isinstance(column, Ragged):
        return column
    if len(np.unique(column.lengths)) > 1:
        raise ValueError(f"{field.name!r} has not equally many numbers in every row")
    return column.values.reshape(len(column.lengths), -1)


def _padded(column: Ragged, field: Field, width: int) -> np.ndarray:
    """[n, width, ...] with ``field.pad`` behind the end of each row."""
    mask = np.arange(width) < column.lengths[:, None]
    made = np.full((*mask.shape, *column.values.shape[1:]), field.pad, dtype=field.dtype)
    made[mask] = column.values
    return made


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Tensors on the arrays' own memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
