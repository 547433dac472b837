"""Training rows that stay in their files and are read batch by batch: ``data.stream=true``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainer.data.cache import Say, digest
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare
from trainer.data.rows import Rows
from trainer.data.shards import Shards

FIRST = 10_000  # rows that a vocabulary is learnt from


class Process(Protocol):
    """Columns of rows -> features, and in plain values what decides them."""

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]: ...

    def key(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Renamed:
    """A processor of columns that have other names in the files; ``names`` are pairs of ours and theirs."""

    process: Process | type[dict]
    names: tuple[tuple[str, str], ...]

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """The features of these rows."""
        return self.process({ours: columns[theirs] for ours, theirs in self.names})


@dataclass(frozen=True)
class Stream:
    """Parquet or arrow files that stand for training rows; ``names`` are the task's and the files' names of columns."""

    files: tuple[Path, ...]
    names: tuple[tuple[str, str], ...]

    def examples(self, process: Process) -> Shards:
        """Every row as an example that is made when it is needed."""
        return self._shards(process, process.key())

    @cached_property
    def data(self) -> dict[str, list]:
        """The first ten thousand rows by column, under the task's names."""
        rows = self._shards(dict, "as they are")
        return rows.columns(np.arange(min(FIRST, len(rows))))

    @cached_property
    def digest(self) -> str:
        """A hash of the files' sizes and of their first rows."""
        return digest(self._shards(dict, "as they are").digest, repr(self.data))

    def where(self, i: int) -> str:
        """The file and row that row ``i`` is."""
        return self._shards(dict, "as they are").where(i)

    def _shards(self, process: Process | type[dict], key: Any) -> Shards:
        columns = list(dict.fromkeys(theirs for _, theirs in self.names))
        return Shards(self.files, Renamed(process, self.names), columns=columns, key=[key, self.names])


def featurise(rows: Rows | Stream, process: Process, say: Say) -> Dataset | Shards:
    """The features of all rows, prepared now and kept, or of a stream when they are needed."""
    return rows.examples(process) if isinstance(rows, Stream) else prepare(rows, process, key=process.key(), say=say)
