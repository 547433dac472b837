"""Where a task's examples come from: the user's files, a data set of the hub, or the project's own sample."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from recipes.options import DataOptions
from recipes.streaming import Stream
from trainer.data import formats, hub, sources
from trainer.data.cache import digest
from trainer.data.mixture import concatenated, mixed
from trainer.data.rows import Origin, Rows
from trainer.data.shards import column_names
from trainer.errors import DataError, OptionError

SAMPLES = Path(__file__).parent / "data"
NOTHING = DataOptions(
    path=None,
    weights=None,
    name=None,
    subset=None,
    stream=False,
    split_train="train",
    split_eval=None,
    columns=None,
    label=None,
)
HELD_OUT = 0.1  # share of the training rows that is measured on where the data has no split for that


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns and splits that a task wants.

    inputs    its names of the columns it reads, in the order in which ``data.columns`` names a user's own
    label     its name of the column that ``data.label`` names; None: it has none
    spelt     how files may also spell a column, the most usual first
    headers   columns of its files without a header line, told apart by their number
    evals     name of a measurement -> split
    sample    folder in ``recipes/data``; or ``sample(split)`` draws the rows, the same in every run
    subset    the task's name in the hub's data set, unless ``data.subset`` names one; None where it has none
    ordered   rows follow one another, so that what is held out is the end and not rows here and there
    streams   each row is one example, so that rows may be read as they are needed (``data.stream``)
    """

    inputs: Sequence[str]
    label: str | None = None
    spelt: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Sequence[Sequence[str]] = ()
    evals: Mapping[str, str] = field(default_factory=lambda: {"dev": "validation"})
    sample: str | Callable[[str], Iterable[Mapping[str, Any]]]
    subset: str | None = None
    ordered: bool = False
    streams: bool = False

    def columns(self, options: DataOptions) -> dict[str, Sequence[str]]:
        """Each column with the names it may have; OptionError where ``options`` name too many or too few."""
        known = [*self.inputs, *([self.label] if self.label else [])]
        found = {ours: (ours, *self.spelt.get(ours, ())) for ours in known}
        if options.columns is not None:
            if len(options.columns) != len(self.inputs):
                raise OptionError(
                    f"data.columns=[{','.join(options.columns)}]: the task reads {len(self.inputs)} column"
                    f"{'s' * (len(self.inputs) > 1)}, as {', '.join(self.inputs)}"
                )
            found |= {ours: (theirs,) for ours, theirs in zip(self.inputs, options.columns)}
        if options.label is not None:
            if self.label is None:
                raise OptionError(f"data.label={options.label}: the task has no label beside {', '.join(self.inputs)}")
            found[self.label] = (options.label,)
        return found


class Examples(NamedTuple):
    """Rows to learn from, rows of each measurement, and where they are from in a few words."""

    train: Rows | Stream
    evals: dict[str, Rows]
    about: str


def examples(options: DataOptions, table: Table) -> Examples:
    """The examples of a task, their columns named as the task names them.

    ``options.path`` wins over ``options.name``, and without either it is the sample. Raises DataError naming the file
    and the column, split or row that is wrong.
    """
    if options.stream and not table.streams:
        raise OptionError("data.stream=true: this recipe makes its examples of all rows beforehand; leave it out")
    if options.path is None and options.name is not None:
        return _from_hub(options, table)
    if options.path is None and not isinstance(table.sample, str):
        train, evals = _drawn(table, "train"), {name: _drawn(table, split) for name, split in table.evals.items()}
        return Examples(train, evals, "sample drawn here")
    paths = _paths(options, table)
    found, folder = {}, ", ".join(map(str, paths))
    for path in paths:
        for split, files in sources.find(path).items():
            found[split] = [*found.get(split, ()), *files]
    if len(paths) == 1 and paths[0].is_file() and "train" not in found:  # alone it is learnt from, whatever its name
        found = {"train": paths}
    about = f"sample {table.sample} that ships here" if options.path is None else folder
    if options.weights is not None:
        return _mixed(paths, found, table, options)
    if options.stream:
        train, about = _streamed(found, folder, table, options), f"{about}, read as needed"
    else:
        train = _read(found, options.split_train, folder, table, options)
        about += f"   not used: {', '.join(train.unused)}" if train.unused else ""
    if splits := _measured(options, table, found):
        evals = {name: _read(found, split, folder, table, options) for name, split in splits.items()}
        return Examples(train, evals, about)
    if options.stream:
        raise DataError(
            f"{folder}: no dev split, and of a stream none is held out. Add a file dev.parquet beside train.parquet"
        )
    train, held = hold_out(train, folder, table.ordered)
    return Examples(
        train, {"dev": held}, f"{about}, {'the last' if table.ordered else 'a'} tenth of train held out as dev"
    )


def _paths(options: DataOptions, table: Table) -> list[Path]:
    if options.path is None:
        return [SAMPLES / table.sample]
    return [Path(path) for path in ([options.path] if isinstance(options.path, str) else options.path)]


def _mixed(paths: Sequence[Path], found: Mapping[str, list[Path]], table: Table, options: DataOptions) -> Examples:
    """Training rows of each path in the share that ``data.weights`` gives it; what is measured on is not weighted."""
    if table.ordered and not table.streams:
        raise OptionError("data.weights: documents of several rows would be taken apart; leave it out")
    parts = [_read(sources.find(path), options.split_train, path, table, options) for path in paths]
    about = "; ".join(f"{weight:g} of {path}" for weight, path in zip(options.weights, paths))
    if splits := _measured(options, table, found):
        evals = {name: _read(found, split, about, table, options) for name, split in splits.items()}
    else:
        parts, held = zip(*(hold_out(part, path) for part, path in zip(parts, paths)))
        evals, about = {"dev": concatenated(held)}, f"{about}, a tenth of each held out as dev"
    return Examples(mixed(parts, options.weights), evals, about)


def hold_out(rows: Rows, where: Path | str, ordered: bool = False) -> tuple[Rows, Rows]:
    """Rows to learn from and a tenth of them to measure on, the same tenth in every run; the last one if ``ordered``."""
    count = round(len(rows) * HELD_OUT)
    if count == 0:
        raise DataError(
            f"{where}: {len(rows):,} rows and no dev split; too few to hold some out. Add a file dev.tsv, or name the "
            "split to measure on: data.split_eval"
        )
    order = np.arange(len(rows))[::-1] if ordered else np.random.default_rng(0).permutation(len(rows))
    return rows.select(np.sort(order[count:])), rows.select(np.sort(order[:count]))


def column(rows: Rows | Stream, names: Sequence[str]) -> Iterator[str]:
    """The texts of these columns, one column after the other. DataError naming the row where one holds no text."""
    for name in names:
        for i, value in enumerate(rows.data[name]):
            if not isinstance(value, str):
                raise DataError(f"{rows.where(i)}: column {name!r} holds {value!r}, which is not text")
            yield value


def _measured(options: DataOptions, table: Table, found: Mapping[str, object]) -> dict[str, str]:
    """Name of each measurement -> its split; empty where the data has none."""
    if options.split_eval is not None:
        return {options.split_eval: options.split_eval}
    if all(split in found for split in table.evals.values()):
        return dict(table.evals)
    return {"dev": "validation"} if "validation" in found else {}


def _drawn(table: Table, split: str) -> Rows:
    rows = [dict(row) for row in table.sample(split)]
    data = datasets.Dataset.from_list(rows).select_columns(list(table.columns(NOTHING)))
    return Rows(data, Origin(((f"sample {split}", len(data)),)), digest("sample", repr(rows)))


def _read(found: Mapping[str, list[Path]], split: str, folder: Path | str, table: Table, options: DataOptions) -> Rows:
    files, columns = _files(found, split, folder), table.columns(options)
    return _columns(sources.read(files, header=_header(files[0], table, columns)), columns)


def _streamed(found: Mapping[str, list[Path]], folder: Path | str, table: Table, options: DataOptions) -> Stream:
    files = _files(found, options.split_train, folder)
    names = _names(column_names(files[0]), table.columns(options))
    return Stream(tuple(files), tuple(names.items()))


def _files(found: Mapping[str, list[Path]], split: str, folder: Path | str) -> list[Path]:
    """The files of a split. DataError where there is none."""
    split = sources.SPLITS.get(split, split)  # a split is also called by the word that stands in the file's name
    if split not in found:
        listed = "; ".join(f"{name}: {', '.join(path.name for path in files)}" for name, files in found.items())
        raise DataError(
            f"{folder}: no split '{split}' there. It has {listed}. Choose with data.split_train and data.split_eval"
        )
    return found[split]


def _header(path: Path, table: Table, columns: Mapping[str, Sequence[str]]) -> formats.Header:
    """The names of the columns where the task's own files have no header line, else True: the file says them."""
    form = formats.format_of(path)
    if form not in ("csv", "tsv") or not table.headers:
        return True
    first = formats.first_fields(path, form)
    if any(name in first for spellings in columns.values() for name in spellings):
        return True
    return next((names for names in table.headers if len(names) == len(first)), True)


def _columns(rows: Rows, columns: Mapping[str, Sequence[str]]) -> Rows:
    """The columns that the task wants, under its own names."""
    there = rows.data.column_names
    names = _names(there, columns)
    try:
        rows.require(list(names.values()))
    except DataError as error:
        absent = any(name not in there for name in names.values())
        raise DataError(f"{error}. Name yours with data.columns and data.label" if absent else str(error)) from None
    data = rows.data.select_columns(list(names.values()))
    data = data.rename_columns({theirs: ours for ours, theirs in names.items() if ours != theirs})
    unused = tuple(name for name in there if name not in names.values())
    return replace(rows, data=data, digest=digest(rows.digest, names), unused=unused)


def _names(there: Sequence[str], columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each column with the first of its names that is there."""
    return {ours: next((s for s in known if s in there), known[0]) for ours, known in columns.items()}


def _from_hub(options: DataOptions, table: Table) -> Examples:
    subset = options.subset or table.subset

    def split(name: str) -> Rows:
        return _columns(hub.read(options.name, subset, name), table.columns(options))

    evals = table.evals if options.split_eval is None else {options.split_eval: options.split_eval}
    train, measured = split(options.split_train), {name: split(wanted) for name, wanted in evals.items()}
    return Examples(train, measured, "/".join(filter(None, (options.name, subset))))
