"""Prepared examples: a memory-mapped Arrow file whose rows are handed out as views of it."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import pyarrow as pa

from trainer.data.media import Column, Media

Feature = np.ndarray | int | float | str | Media


class Ragged(NamedTuple):
    """Lists of different lengths, joined: ``values`` [total] and ``lengths`` int64 [n]."""

    values: np.ndarray
    lengths: np.ndarray


class Dataset:
    """The rows that :func:`trainer.data.prepare.prepare` made of a source.

    lengths     int32 [n], tokens of each row
    fields      names of the features
    digest      a hash of what all examples hold
    where(i)    the file and row that example ``i`` was made of

    ``data[i]`` is a dict: a list of tokens is a read-only NumPy view [length], a number a Python number, an
    image or a sound a :class:`Media` that nobody has opened. Nothing is copied or converted before it is asked for, and
    no row is kept, so memory stays flat.
    """

    def __init__(self, path: Path, origin: Callable[[int], str], digest: str, media: Mapping[str, Column]):
        self.path, self.origin, self.digest, self.media = Path(path), origin, digest, dict(media)
        table = datasets.Dataset.from_file(str(path)).data.table
        chunks = [[column.chunk(k) for column in table.columns] for k in range(table.column(0).num_chunks)]
        self._starts = np.cumsum([0, *(len(columns[0]) for columns in chunks)]).tolist()
        self._chunks = [dict(zip(table.column_names, map(_Column, columns))) for columns in chunks]
        self.fields = [*(name for name in table.column_names if name not in ("length", "row")), *self.media]
        self.lengths = self._whole("length", np.int32)
        self._row = self._whole("row", np.int64) if "row" in table.column_names else None

    def __reduce__(self):
        return type(self), (self.path, self.origin, self.digest, self.media)

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

    def columns(
        self, rows: np.ndarray, spans: tuple[np.ndarray, np.ndarray] | None = None
    ) -> dict[str, Ragged | np.ndarray | list[str]]:
        """The features of these examples, in that order, each as one array: no Python object a row.

        ``spans``: of each example's lists only what lies from the first array's position to before the second's.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"examples {rows.min()} to {rows.max()} of {len(self)}")
        chunk = np.searchsorted(self._starts, rows, "right") - 1
        groups = [(k, np.flatnonzero(chunk == k)) for k in np.unique(chunk).tolist()]
        return {name: self._gather(name, rows, groups, spans) for name in self.fields}

    def where(self, i: int) -> str:
        """``train.tsv row 17``."""
        return self.origin(self._source(i))

    def _get(self, i: int) -> dict[str, Feature]:
        k = bisect_right(self._starts, i) - 1
        columns, j = self._chunks[k], i - self._starts[k]
        found = {name: column(j) for name, column in columns.items() if name not in ("length", "row")}
        return found | {name: column[self._source(i)] for name, column in self.media.items()}

    def _source(self, i: int) -> int:
        """The row that example ``i`` was made of."""
        return int(i if self._row is None else self._row[i])

    def _gather(self, name: str, rows: np.ndarray, groups: list[tuple[int, np.ndarray]], spans=None):
        if name in self.media:
            return [self.media[name][self._source(i)] for i in rows.tolist()]
        column = self._chunks[0][name]
        if isinstance(column.values, pa.Array):
            return [self._get(i)[name] for i in rows.tolist()]
        if column.offsets is None:
            out = np.empty(len(rows), column.values.dtype)
            for k, at in groups:
                out[at] = self._chunks[k][name].values[rows[at] - self._starts[k]]
            return out
        begins, lengths = np.empty((2, len(rows)), np.int64)
        for k, at in groups:
            offsets, j = self._chunks[k][name].offsets, rows[at] - self._starts[k]
            begins[at], lengths[at] = offsets[j], offsets[j + 1] - offsets[j]
        if spans is not None:
            stops = np.minimum(lengths, spans[1])
            begins, lengths = begins + spans[0], np.maximum(stops - spans[0], 0)
        places, out = np.cumsum(lengths) - lengths, np.empty(lengths.sum(), column.values.dtype)
        for k, at in groups:
            values = self._chunks[k][name].values
            out[_spans(places[at], lengths[at])] = values[_spans(begins[at], lengths[at])]
        return Ragged(out, lengths)

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


def _spans(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers of every range ``begins[i]`` to ``begins[i] + lengths[i]``, one after the other."""
    return np.repeat(begins - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
