"""Rows of a data set as they were found, with where each came from."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import datasets
import numpy as np

from trainer.data.cache import digest
from trainer.errors import DataError


class RowError(ValueError):
    """What is wrong with one row of those that a function was given: ``RowError(position, reason)``."""

    def __init__(self, position: int, reason: str):
        super().__init__(reason)
        self.position = position


@dataclass(frozen=True)
class Origin:
    """Which file a row came from: the files' names and row counts, in order, and which of their rows are left."""

    files: tuple[tuple[str, int], ...]
    chosen: np.ndarray | None = None

    def __call__(self, i: int) -> str:
        """``train.tsv row 17``: rows count from 1, a header is none."""
        k, row = self._place(i)
        return f"{self.files[k][0]} row {row + 1:,}"

    def folder(self, i: int) -> Path:
        """The folder that names of files in row ``i`` are relative to: the one its file is in, or itself one."""
        path = Path(self.files[self._place(i)[0]][0])
        return path if path.is_dir() else path.parent

    def _place(self, i: int) -> tuple[int, int]:
        """The number of a row's file, and its own in there."""
        i = int(i if self.chosen is None else self.chosen[i])
        starts = np.cumsum([0, *(count for _, count in self.files)])
        k = bisect_right(starts, i) - 1
        return k, i - int(starts[k])


def joined(origins: Sequence[Origin]) -> Origin:
    """Where rows came from that stand one data set after the other."""
    files = tuple(file for origin in origins for file in origin.files)
    counts = [sum(count for _, count in origin.files) for origin in origins]
    chosen = [np.arange(n) if origin.chosen is None else origin.chosen for origin, n in zip(origins, counts)]
    starts = np.cumsum([0, *counts])
    return Origin(files, np.concatenate([start + rows for start, rows in zip(starts, chosen)]))


@dataclass(frozen=True)
class Rows:
    """A table of examples.

    data     the rows, as a memory-mapped ``datasets.Dataset``
    where    where(i) says which file and row that is, for messages
    digest   a hash of content and order
    unused   columns of the files that were not asked for
    """

    data: datasets.Dataset
    where: Origin
    digest: str
    unused: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.data)

    def select(self, indices: Sequence[int]) -> "Rows":
        """These rows in this order."""
        indices = np.asarray(indices, dtype=np.int64)
        before = self.where.chosen
        origin = Origin(self.where.files, indices if before is None else before[indices])
        return Rows(self.data.select(indices), origin, digest(self.digest, indices.tolist()), self.unused)

    def require(self, columns: Sequence[str]) -> None:
        """DataError when one of ``columns`` is not there, or has no value in some row."""
        missing_column(columns, self.data.column_names, self.where.files[0][0])
        for name in columns:
            position = 0
            for chunk in self.data.with_format("arrow")[name].chunks if len(self) else ():
                if chunk.null_count:
                    row = position + int(np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False))[0])
                    raise DataError(f"{self.where(row)}: column {name!r} has no value")
                position += len(chunk)


def missing_column(wanted: Sequence[str], there: Sequence[str], place: str) -> None:
    """DataError naming the first column that is wanted and not there, those that are, and the nearest."""
    for name in wanted:
        if name not in there:
            near = nearest(name, there)
            shown = ", ".join(repr(other if len(other) <= 40 else other[:37] + "...") for other in there)
            raise DataError(
                f"{place}: no column {name!r}{f'; did you mean {near!r}?' if near else '.'} Columns there: {shown}"
                + (" (has the file no header?)" if not near and place.endswith(("sv", "sv.gz")) else "")
            )


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` most like ``name``, if any is."""
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.5)), None)
