"""Data sets of many files that are read as they are needed: nothing is prepared, copied or counted beforehand but headers.

    data = Shards(paths, process, columns=["text"], key={...})                # parquet or arrow files
    plan = BatchPlan(data.lengths, batch_options, seed, order=data.order(seed))     # batch.size, not batch.tokens
    feed = Loader(data, plan, Collate(fields, batch_options), workers=2)

The order is a keyed permutation of the parts (row groups of parquet, whole arrow files) and, in each part, of its rows: a
pure function of (seed, epoch, position) like every other, without a buffer, so that epoch and step are all the state there
is. Rows are mixed within a part only; the parts of a file written in order of its labels should be mixed before.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.cache import digest
from trainer.data.formats import format_of
from trainer.data.order import Order
from trainer.data.rows import Origin, RowError, missing_column
from trainer.errors import DataError

HELD = 3  # parts that are kept in memory, in each process that makes batches


class PartOrder:
    """A permutation of the rows of parts of these ``sizes`` for each epoch, one part after the other."""

    def __init__(self, sizes: Sequence[int], seed: int | None):
        self.sizes, self.starts = np.asarray(sizes, np.int64), np.cumsum([0, *sizes])[:-1]
        self._parts = Order(len(sizes), seed)
        self._rows = [Order(size, None if seed is None else seed + 1 + k) for k, size in enumerate(sizes)]

    def index(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The rows at these positions of an epoch."""
        parts = self._parts.index(epoch, np.arange(len(self.sizes)))
        ends = np.cumsum(self.sizes[parts])
        turn = np.searchsorted(ends, positions, "right")
        found = np.empty(len(positions), np.int64)
        for k in np.unique(turn).tolist():
            at, part = turn == k, parts[k]
            inside = positions[at] - (ends[k] - self.sizes[part])
            found[at] = self.starts[part] + self._rows[part].index(epoch, inside)
        return found


class Shards:
    """The rows of ``files`` as examples; ``process`` is called on the rows of each batch, in the loader's workers.

    process     as for :func:`trainer.data.prepare.prepare`, a feature for each row; importable where workers are processes
    columns     those needed, with a value in every row
    key         what ``process`` does, in plain values
    lengths     all 1: how long a row is will only be known when it is read, so batches are of ``batch.size`` rows
    digest      a hash of the files' sizes and headers, and of ``key``

    DataError names file and row of what is wrong: a file that is not whole at once, a row when it is met.
    """

    streamed = True  # not to be read whole before the first step

    def __init__(self, files: Sequence[Path], process: Callable, *, columns: Sequence[str], key: Any):
        self.process, self.wanted = process, tuple(columns)
        self._parts = [part for path in map(Path, files) for part in _parts(path, self.wanted)]
        if not self._parts:
            raise DataError(f"{', '.join(map(str, files)) or 'no files'}: no rows")
        self.sizes = np.array([rows for _, _, rows in self._parts], np.int64)
        self._starts = np.cumsum([0, *self.sizes])
        self.lengths = np.ones(self._starts[-1], np.int32)
        self.digest = digest([(Path(f).name, Path(f).stat().st_size) for f in files], self.sizes.tolist(), key)
        self._origin = Origin(tuple((_named(path, group), rows) for path, group, rows in self._parts))
        self._open()

    def order(self, seed: int | None) -> PartOrder:
        """The order in which reading is cheap."""
        return PartOrder(self.sizes.tolist(), seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, Any]:
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        return {name: values[0] for name, values in self.columns(np.array([i % len(self)])).items()}

    def rows(self, indices: Iterable[int]) -> list[dict[str, Any]]:
        """The examples with these numbers, in that order."""
        indices = np.fromiter(indices, np.int64)
        columns = self.columns(indices)
        return [{name: values[k] for name, values in columns.items()} for k in range(len(indices))]

    def columns(self, rows: np.ndarray) -> dict[str, list]:
        """The features of these examples, in that order, as lists of one entry a row."""
        rows = np.asarray(rows, np.int64)
        if not len(rows):
            return {}
        owner = np.searchsorted(self._starts, rows, "right") - 1
        parts = np.unique(owner).tolist()
        taken = [self._table(k).take(rows[owner == k] - self._starts[k]) for k in parts]
        place = np.concatenate([np.flatnonzero(owner == k) for k in parts])  # where in the batch each taken row stands
        table = pa.concat_tables(taken).take(np.argsort(place))
        for name in self.wanted:
            if table[name].null_count:
                row = int(np.flatnonzero(table[name].is_null().to_numpy())[0])
                raise DataError(f"{self.where(int(rows[row]))}: column {name!r} has no value")
        try:
            made = self.process(table.to_pydict())
        except RowError as error:
            raise DataError(f"{self.where(int(rows[error.position]))}: {error}") from None
        return {name: list(values) for name, values in made.items()}

    def where(self, i: int) -> str:
        """``a.parquet (group 2) row 17``."""
        return self._origin(i)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _open(self) -> None:
        self._held, self._lock = OrderedDict(), threading.Lock()

    def _table(self, k: int) -> pa.Table:
        """Part ``k``, from memory where it was used lately."""
        with self._lock:
            if k not in self._held:
                path, group, _ = self._parts[k]
                self._held[k] = _read(path, group, self.wanted)
                while len(self._held) > HELD:
                    self._held.popitem(last=False)
            self._held.move_to_end(k)
            return self._held[k]


def column_names(path: Path) -> list[str]:
    """The columns of a parquet or arrow file, from its header. DataError where it is neither or not whole."""
    form = format_of(path)
    if form not in ("parquet", "arrow"):
        raise DataError(f"{path}: streaming reads parquet and arrow, whose headers say how many rows there are")
    try:
        return _arrow(path).column_names if form == "arrow" else pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a whole {form} file: {error}") from None


def _parts(path: Path, wanted: Sequence[str]) -> list[tuple[Path, int | None, int]]:
    """What of a file is read at once: the file, the row group if it is one, and its rows; from headers alone."""
    missing_column(wanted, column_names(path), str(path))
    form = format_of(path)
    try:
        if form == "arrow":
            table = _arrow(path)
            return [(path, None, len(table))] if len(table) else []
        with pq.ParquetFile(path) as file:
            counts = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
        return [(path, k, rows) for k, rows in enumerate(counts) if rows]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a whole {form} file: {error}") from None


def _read(path: Path, group: int | None, wanted: Sequence[str]) -> pa.Table:
    try:
        if group is None:
            return _arrow(path).select(list(wanted))
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=list(wanted))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{_named(path, group)}: cannot be read: {error}") from None


def _arrow(path: Path) -> pa.Table:
    """The table of a memory-mapped file, of either kind."""
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


def _named(path: Path, group: int | None) -> str:
    return str(path) if group is None else f"{path} (group {group})"
