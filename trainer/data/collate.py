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

    per     "token": a number a token, so it is joined or padded; "row": a number (or equally many) a row: class labels,
            scores, positions of a span within its own row
    pad     what stands behind the end of a short row; labels take the value that the loss leaves out
    dtype   of the tensor
    """

    name: str
    per: Literal["token", "row"]
    pad: int | float = 0
    dtype: Literal["int64", "float32"] = "int64"


@dataclass(frozen=True)
class Collate:
    """Batches of ``fields``; the first field per token tells the lengths.

    unpadded          fields per token [1, total], ``lengths`` [n] int64 of the rows, in order; no mask
    all others        fields per token [n, T] with ``attention_mask`` int64 [n, T], 1 for tokens; T is the width that is
                      given, else ``max_length`` in the padded layout, else the longest row's length
    all               fields per row [n] or [n, k]; ``rows`` int64 [n], the examples' numbers
    """

    fields: tuple[Field, ...]
    options: BatchOptions

    def __post_init__(self):
        if not any(field.per == "token" for field in self.fields):
            raise ValueError("a batch needs at least one field per token")

    def __call__(self, features: Sequence[dict], rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """``features``, one dict a row, as tensors."""
        columns = {}
        for field in self.fields:
            values = [feature[field.name] for feature in features]
            if field.per == "token":
                lengths = np.fromiter(map(len, values), np.int64, len(values))
                columns[field.name] = Ragged(np.concatenate([np.zeros(0, field.dtype), *values]), lengths)
            else:
                columns[field.name] = np.array(values)
        return tensors(self.arrays(columns, rows))

    def arrays(
        self, columns: dict[str, Ragged | np.ndarray], rows: Sequence[int], width: int | None = None
    ) -> dict[str, np.ndarray]:
        """The same from whole columns (``Dataset.columns``) to arrays, cheap to pass between processes."""
        first = next(field.name for field in self.fields if field.per == "token")
        lengths, batch = columns[first].lengths, {}
        if self.options.layout == "unpadded":
            batch["lengths"] = lengths
        else:
            longest = self.options.max_length if self.options.layout == "padded" else int(lengths.max(initial=0))
            width = longest if width is None else width
            mask = np.arange(width) < lengths[:, None]
            batch["attention_mask"] = mask.astype(np.int64)
        for field in self.fields:
            column = columns[field.name]
            if field.per == "row":
                if isinstance(column, Ragged):
                    if len(np.unique(column.lengths)) > 1:
                        raise ValueError(f"{field.name!r} has not equally many numbers in every row")
                    column = column.values.reshape(len(lengths), -1)
                batch[field.name] = column.astype(field.dtype)
                continue
            if not np.array_equal(column.lengths, lengths):
                raise ValueError(f"{field.name!r} and {first!r} differ in length")
            values = column.values.astype(field.dtype, copy=False)
            if self.options.layout == "unpadded":
                batch[field.name] = values[None]
            else:
                batch[field.name] = np.full(mask.shape, field.pad, dtype=field.dtype)
                batch[field.name][mask] = values
        batch["rows"] = np.array(rows, dtype=np.int64)
        return batch


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Tensors on the arrays' own memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
