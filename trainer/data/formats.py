"""One file of rows -> Arrow tables, some thousand rows at a time, every fault with its file and line.

csv and tsv columns are text as it stands in the file: no number, date or "NA" is guessed. tsv has no quoting (GLUE's
sentences hold stray quotes) and no escapes; csv quotes as RFC 4180 says. ``.gz`` behind a name is unpacked on the way.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.errors import DataError

CHUNK = 10_000
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "text",
    ".text": "text", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".conll": "conll", ".iob2": "conll",
    ".conllu": "conllu",
}  # fmt: skip
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
PACKED = (
    "csv",
    "tsv",
    "json",
    "jsonl",
    "text",
    "conll",
    "conllu",
)  # may end in .gz; parquet and arrow pack by themselves
Header = bool | Sequence[str]  # True: the first line has the names; a sequence: the file has none, these are they


def format_of(path: Path) -> str | None:
    """The format that a file's name promises, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    found = SUFFIXES.get(suffixes[-1 - packed]) if len(suffixes) > packed else None
    return None if packed and found not in PACKED else found


def tables(path: Path, form: str, header: Header = True) -> Iterator[pa.Table]:
    """The rows of one file in order; DataError names file and line of what cannot be read."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        if form in ("parquet", "arrow"):
            yield from _parquet(path) if form == "parquet" else _arrow(path)
        elif form in ("csv", "tsv"):
            yield from _separated(path, form, header)
        elif form in ("json", "jsonl"):
            yield from _objects(path, _json(path) if form == "json" else _json_lines(path))
        elif form in ("conll", "conllu"):
            yield from _sentences(path, form)
        else:
            yield from _text(path)
    except (OSError, EOFError, zlib.error) as error:  # the last two: a .gz that ends early or is damaged
        raise DataError(f"{path}: cannot be read: {error.args[-1] if error.args else error}") from None


def first_fields(path: Path, form: str) -> list[str]:
    """The first line of a csv or tsv file, split: the header, where there is one."""
    return next((fields for _, fields in _fields(path, form)), [])


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends; only a line feed ends a line, so that row numbers are those of an editor."""
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        before = 0
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode()
            except UnicodeDecodeError as error:
                raise DataError(_not_utf8(path, number, before, raw, error.start)) from None
            yield line.removeprefix("\ufeff") if number == 1 else line
            before += len(raw)


def _not_utf8(path: Path, number: int, before: int, raw: bytes, start: int) -> str:
    wide = number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return (
        f"{path}:{number}: not UTF-8: byte {raw[start]:#04x} at offset {before + start:,} of the file"
        f"{', which begins like UTF-16' if wide else f', after {raw[max(0, start - 20) : start].decode()!r}'}. "
        f"Convert it, for example: iconv -f {'utf-16' if wide else 'latin1'} -t utf-8 {path.name} > utf8/{path.name}"
    )


def _fields(path: Path, form: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the line a row ends on, and its fields. Blank lines at the end are no rows."""
    if form == "tsv":
        blank = 0
        for number, line in enumerate(_lines(path), start=1):
            line = line.rstrip("\r\n")
            if not line:
                blank += 1
                continue
            yield from ((number - back, [""]) for back in range(blank, 0, -1))
            blank = 0
            yield number, line.split("\t")
        return
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(_lines(path), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}; is a quote left open, or is this not csv?") from None


def _separated(path: Path, form: str, header: Header) -> Iterator[pa.Table]:
    rows = _fields(path, form)
    if header is True:
        _, names = next(rows, (0, []))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{path}:1: the header names column {twice!r} twice")
    else:
        names = list(header)
    while chunk := list(islice(rows, CHUNK)):
        for number, fields in chunk:
            if len(fields) != len(names):
                raise DataError(
                    f"{path}:{number}: {len(fields)} fields where {'the header' if header is True else 'the format'} "
                    f"has {len(names)} ({', '.join(map(clipped, names))}): {clipped(' | '.join(fields), 60)}"
                )
        columns = zip(*(fields for _, fields in chunk))
        yield pa.table([pa.array(column, pa.string()) for column in columns], names=names)


def _text(path: Path) -> Iterator[pa.Table]:
    lines = _lines(path)
    while chunk := [line.rstrip("\r\n") for line in islice(lines, CHUNK)]:
        yield pa.table({"text": pa.array(chunk, pa.string())})


def _sentences(path: Path, form: str) -> Iterator[pa.Table]:
    """A row a sentence: ``tokens``, and of CoNLL-U ``upos`` and ``xpos``, else ``tags``, the last column of each word.

    CoNLL-U: Nivre et al., 2016, "Universal Dependencies v1"; words written together (1-2) and left out (1.1) are no words.
    """
    places = {"tokens": 1, "upos": 3, "xpos": 4} if form == "conllu" else {"tokens": 0, "tags": -1}
    groups = ([fields for _, fields in words] for some, words in groupby(_words(path, form), key=bool) if some)
    while chunk := list(islice(groups, CHUNK)):
        columns = {name: [[fields[at] for fields in words] for words in chunk] for name, at in places.items()}
        yield pa.table({name: pa.array(rows, pa.list_(pa.string())) for name, rows in columns.items()})


def _words(path: Path, form: str) -> Iterator[tuple[int, list[str]] | None]:
    """Line and fields of each word, None between sentences."""
    width = None
    for number, line in enumerate(_lines(path), start=1):
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith("-DOCSTART-"):
            yield None
        elif form == "conll" or not line.startswith("#"):
            fields = line.split("\t") if form == "conllu" or "\t" in line else line.split()
            width = width or (10 if form == "conllu" else max(2, len(fields)))
            if len(fields) != width or not fields[form == "conllu"]:
                raise DataError(f"{path}:{number}: {len(fields)} fields where a word has {width}: {clipped(line, 60)}")
            if form == "conll" or fields[0].isdigit():
                yield number, fields


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    """A list of objects, or one object whose ``data`` is such a list."""
    try:
        content = json.loads("".join(_lines(path)))
    except json.JSONDecodeError as error:
        hint = "; one object a line is called .jsonl" if error.msg == "Extra data" else ""
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}{hint}") from None
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of objects, or an object whose 'data' is such a list")
    yield from ((f"{path} row {i}", row) for i, row in enumerate(rows, start=1))


def _objects(path: Path, rows: Iterator[tuple[str, Any]]) -> Iterator[pa.Table]:
    while chunk := list(islice(rows, CHUNK)):
        for place, row in chunk:
            if not isinstance(row, dict):
                raise DataError(f"{place}: expected an object with a key a column, this is {clipped(json.dumps(row))}")
        names = list(dict.fromkeys(name for _, row in chunk for name in row))
        yield pa.table({name: _column(name, [(place, row.get(name)) for place, row in chunk]) for name in names})


def _column(name: str, values: list[tuple[str, Any]]) -> pa.Array:
    try:
        return pa.array([value for _, value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        first = next(value for _, value in values if value is not None)
        for place, value in values:
            try:
                pa.array([first, value])
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                raise DataError(
                    f"{place}: column {name!r} holds {clipped(json.dumps(value))} here and "
                    f"{clipped(json.dumps(first))} in rows before; a column has one type"
                ) from None
        raise DataError(f"{values[0][0]}: column {name!r} mixes types from here on; a column has one type") from None


def _parquet(path: Path) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=CHUNK):
                yield pa.Table.from_batches([batch])
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a whole parquet file: {clipped(str(error), 120)}") from None


def _arrow(path: Path) -> Iterator[pa.Table]:
    try:
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_stream(source)
                batches = iter(reader)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            for batch in batches:
                yield pa.Table.from_batches([batch])
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a whole arrow file: {clipped(str(error), 120)}") from None


def clipped(text: str, width: int = 40) -> str:
    """``text`` in quotes, shortened for a message."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")
