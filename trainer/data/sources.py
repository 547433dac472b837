"""The user's own files as rows: tables and texts, and folders of images or sounds.

Files are read once into a memory-mapped Arrow file in the cache (``cache.once``) and served by ``datasets``. Images and
sounds are only listed: see :mod:`trainer.data.media`.
"""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import datasets
import pyarrow as pa

from trainer.data import cache, formats, media
from trainer.data.cache import Say, silent
from trainer.data.rows import Origin, Rows, missing_column, nearest
from trainer.errors import DataError

Paths = str | Path | Sequence[str | Path]

SPLITS = {  # a word of a file's or folder's name -> the split, in the hub's words
    "train": "train", "training": "train",
    "dev": "validation", "valid": "validation", "validation": "validation", "val": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
FOLDER = "folder"  # the form of a folder of images or sounds
NOT_DATA = {"dataset_info", "dataset_dict", "state", "dataset_infos", "readme", "license", "notice"}


def find(path: Paths) -> dict[str, list[Path]]:
    """The data files of a file, a folder, a pattern with ``*``, or several of them: {split: files}.

    A folder without data files stands for the images or sounds in it, under a folder a class or all in one; so does each
    of its sub-folders that is named as a split. Rows of a data file may name such files, in a column of their own.

    Splits are told from names: ``train``, ``dev`` or ``validation``, ``test``, with what follows (``dev_matched`` ->
    ``validation_matched``), of the file or of the folder it is in. What names no split is ``train``, unless something
    else does. DataError when nothing is there, with close names.
    """
    given = [path] if isinstance(path, str | Path) else list(path)
    splits: dict[str, list[Path]] = {}
    for root in map(Path, given):
        for file in _files(root):
            names = [_stem(file)] if file.parent in (root, root.parent) else [_stem(file), _stem(file.parent)]
            splits.setdefault(next(filter(None, map(_split, names)), ""), []).append(file)
    unnamed = splits.pop("", [])
    if not splits:
        splits = {"train": unnamed}
    for name, files in splits.items():
        exact = [file for file in files if _stem(file) in SPLITS]
        splits[name] = sorted(exact or files)  # train.tsv is the split where msr_train.tsv lies beside it
        if len({formats.format_of(file) for file in splits[name]}) > 1:
            listed = ", ".join(map(str, splits[name]))
            raise DataError(
                f"more than one format for split '{name}': {listed}. Name one file, or a pattern such as *.csv"
            )
    return splits


def read(
    files: Paths,
    *,
    form: str | None = None,
    header: formats.Header = True,
    columns: Sequence[str] | None = None,
    folder: Path | None = None,
    say: Say = silent,
) -> Rows:
    """The rows of one or more files of one kind, in order; of a folder, a row a file: ``image`` or ``audio``, and ``label``.

    form      csv, tsv, json, jsonl, text, parquet or arrow; None: as the files are named
    header    csv and tsv: True when the first line names the columns, else the names
    columns   those needed, each with a value in every row; None: all of them
    folder    of the cache; None: :func:`cache.default_folder`

    DataError names file and row of whatever is wrong.
    """
    paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    for path in paths:
        if not path.exists():
            raise DataError(_nothing(path))
    forms = [FOLDER if path.is_dir() else form or formats.format_of(path) for path in paths]
    for path, kind in zip(paths, forms):
        if kind not in (*formats.FORMATS, FOLDER):
            known = f"{', '.join(formats.SUFFIXES)}, text formats also with .gz behind"
            raise DataError(f"{path}: unknown format{f' {kind!r}' if kind else ''}. Known: {known}")
    listed = {path: _listed(path) for path in paths if path.is_dir()}
    content = [_digest(listed[path]) if path in listed else cache.digest_file(path) for path in paths]
    options = [forms, header if header is True else list(header), columns and list(columns), formats.CHUNK]
    key = cache.digest("rows", cache.VERSION, content, options)

    def tables(announce: Say) -> Iterator[Chunk]:
        for path, kind in zip(paths, forms):
            count = 0
            for table in [listed[path]] if kind == FOLDER else formats.tables(path, kind, header):
                yield Chunk(path, kind, count, table)
                count += len(table)
                announce(f"reading {path}: {count:,} rows")
            if not count:
                raise DataError(f"{path}: the file has no rows")

    def build(target: Path, announce: Say) -> dict:
        schema = None
        while True:
            try:
                return _write(target, tables(announce), schema, columns)
            except Wider as error:  # begin again with types that fit all rows up to there
                schema = error.schema

    made, facts = cache.once("rows", key, build, folder, say)
    origin = Origin(tuple((str(path), count) for path, count in zip(paths, facts["rows"])))
    rows = Rows(media.undecoded(datasets.Dataset.from_file(str(made))), origin, key, tuple(facts["unused"]))
    rows.require(columns or [])
    return rows


class Chunk(NamedTuple):
    """Some rows of one file, from row ``start`` on."""

    path: Path
    form: str
    start: int
    table: pa.Table


class Wider(Exception):
    """A chunk whose types or columns do not fit what is written so far; ``schema`` fits both."""

    def __init__(self, schema: pa.Schema):
        super().__init__("wider types needed")
        self.schema = schema


def _write(target: Path, chunks: Iterator[Chunk], schema: pa.Schema | None, columns: Sequence[str] | None) -> dict:
    """Write chunks as one Arrow stream. Returns rows a file and the columns left out."""
    rows, unused = [], {}
    with ExitStack() as stack:
        sink, writer = stack.enter_context(pa.OSFile(str(target), "wb")), None
        for chunk in chunks:
            table = chunk.table
            if columns is not None:
                missing_column(columns, table.column_names, str(chunk.path))
                unused |= dict.fromkeys(name for name in table.column_names if name not in columns)
                table = table.select(list(columns))
            fitting = _fitting(schema, table, chunk)
            if schema is not None and fitting != schema:
                raise Wider(fitting)
            schema = fitting
            writer = writer or stack.enter_context(pa.ipc.new_stream(sink, schema))
            absent = [name for name in schema.names if name not in table.column_names]
            for name in absent:
                table = table.append_column(name, pa.nulls(len(table)))
            writer.write_table(table.select(schema.names).cast(schema))
            if chunk.start == 0:
                rows.append(0)
            rows[-1] += len(table)
    return {"rows": rows, "unused": list(unused)}


def _fitting(schema: pa.Schema | None, table: pa.Table, chunk: Chunk) -> pa.Schema:
    """The types that hold both the rows so far and these; objects may leave keys out, tables may not."""
    if schema is None:
        return table.schema
    if chunk.form not in ("json", "jsonl") and set(schema.names) != set(table.column_names):
        raise DataError(
            f"{chunk.path}: its columns are {', '.join(table.column_names)}, those of the files before "
            f"{', '.join(schema.names)}"
        )
    try:
        fitting = pa.unify_schemas([schema, table.schema], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        end = chunk.start + len(table)
        raise DataError(
            f"{chunk.path} rows {chunk.start + 1:,} to {end:,}: a column has another type than before: {error}"
        ) from None
    return fitting


def _files(path: Path) -> list[Path]:
    """Data files at a path: itself, those of the folder and its sub-folders for splits, or those a pattern matches."""
    if path.is_file():
        return [path]
    if path.is_dir():
        inner = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
        split = [folder for folder in inner if _stem(folder) in SPLITS or folder.name == "data"]
        files = [file for folder in [path, *split] for file in sorted(folder.iterdir())]
        files = [file for file in files if file.is_file() and formats.format_of(file) and _stem(file) not in NOT_DATA]
        if all(formats.format_of(file) == "text" for file in files):  # none, or a list of classes, a licence
            pictured = [folder for folder in split if media.kind_in(folder)]
            if pictured or media.kind_in(path):
                return pictured or [path]
        if files:
            return files
        listed = ", ".join(sorted(item.name for item in path.iterdir())[:10]) or "nothing"
        raise DataError(
            f"{path}: no data file ({', '.join(formats.SUFFIXES)}), image or sound in this folder; it holds {listed}"
        )
    if glob.has_magic(str(path)):
        files = sorted(Path(file) for file in glob.glob(str(path), recursive=True))
        if files := [file for file in files if file.is_file()]:
            return files
        raise DataError(f"{path}: no file matches this pattern")
    raise DataError(_nothing(path))


def _listed(folder: Path) -> pa.Table:
    kind, files, labels = media.listed(folder)
    return pa.table({kind: files} if labels is None else {kind: files, "label": labels})


def _digest(table: pa.Table) -> str:
    return cache.digest(table.to_pydict())


def _nothing(asked: Path) -> str:
    path, parent = asked, asked.parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    names = sorted(item.name for item in parent.iterdir())
    near = nearest(path.name, names)
    listed = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
    hint = f"; did you mean {str(parent / near)!r}?" if near else "."
    return f"{asked}: no such file or folder{hint} {parent} holds {listed or 'nothing'}"


def _stem(path: Path) -> str:
    return path.name.split(".")[0].lower()


def _split(name: str) -> str | None:
    """The split that a file's or folder's name stands for."""
    words = [word for word in re.split(r"[^a-z]+", name) if word]
    for i, word in enumerate(words):
        if word in SPLITS:
            kind = [later for later in words[i + 1 :] if later in ("matched", "mismatched")]
            return "_".join([SPLITS[word], *kind])
    return None
