"""Prepared examples: a memory-mapped Arrow file whose rows are handed out as views of it."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

Feature = np.ndarray | int | float | str


class Dataset:
    """The rows that :func:`trainer.data.prepare.prepare` made of a source.

    lengths     int32 [n], tokens of each row
    fields      names of the features
    where(i)    the file and row that example ``i`` was made of

    ``data[i]`` is a dict: a list of tokens is a read-only NumPy view [length], a number a Python number. Nothing is
    copied or converted before it is asked for, and no row is kept, so memory stays flat.
    """

    def __init__(self, path: Path, origin: Callable[[int], str]):
        self.path, self.origin = Path(path), origin
        table = datasets.Dataset.from_file(str(path)).data.table
        chunks = [[column.chunk(k) for column in table.columns] for k in range(table.column(0).num_chunks)]
        self._starts = np.cumsum([0, *(len(columns[0]) for columns in chunks)]).tolist()
        self._chunks = [dict(zip(table.column_names, map(_Column, columns))) for columns in chunks]
        self.fields = [name for name in table.column_names if name not in ("length", "row")]
        self.lengths = self._whole("length", np.int32)
        self._row = self._whole("row", np.int64) if "row" in table.column_names else None

    def __reduce__(self):
        return type(self), (self.path, self.origin)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, Feature]:
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        return self._get(i % len(self))

    def rows(self, indices: Iterable[int]) -> list[dict[str, Feature]]:
        """The examples with these numbers, in that order."""
        indices = indices.tolist() if isinstance(indices, np.ndarray) else indices
        return [self[i] for i in indices]

    def where(self, i: int) -> str:
        """``train.tsv row 17``."""
        return self.origin(int(i if self._row is None else self._row[i]))

    def _get(self, i: int) -> dict[str, Feature]:
        k = bisect_right(self._starts, i) - 1
        columns, j = self._chunks[k], i - self._starts[k]
        return {name: columns[name](j) for name in self.fields}

    def _whole(self, name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype), *(columns[name].values for columns in self._chunks)])


class _Column:
    """One column of one record batch: its row ``j`` without a copy."""

    def __init__(self, array: pa.Array):
        if pa.types.is_list(array.type):
            self.values = array.values.to_numpy(zero_copy_only=True)
            self.offsets = array.offsets.to_numpy(zero_copy_only=True)
        elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            self.values, self.offsets = array.to_numpy(zero_copy_only=True), None
        else:
            self.values, self.offsets = array, None

    def __call__(self, j: int) -> Feature:
        if self.offsets is not None:
            return self.values[self.offsets[j] : self.offsets[j + 1]]
        value = self.values[j]
        return value.as_py() if isinstance(value, pa.Scalar) else value.item()
