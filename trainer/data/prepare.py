"""Rows -> features, once for the same content, processor and options: ``cache.once`` around a processing function."""

from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.data import cache
from trainer.data.cache import Say, silent
from trainer.data.dataset import Dataset
from trainer.data.media import Column
from trainer.data.rows import RowError, Rows
from trainer.errors import DataError

CHUNK = 4096  # rows given to the processor at a time; a tokenizer spreads them over its threads
MEDIA_CHUNK = 512  # the same where each row has a file to look at
WRITE = 1 << 26  # bytes in one record batch of the file: few and large, so that a batch of rows lies in few of them

Process = Callable[[dict[str, list]], dict[str, Sequence]]


def prepare(
    rows: Rows,
    process: Process,
    *,
    key: Any,
    length: str = "input_ids",
    media: Sequence[str] = (),
    folder: Path | None = None,
    say: Say = silent,
) -> Dataset:
    """The features of ``rows``, from the cache where they are known.

    process   process(columns) -> features: some rows as lists by column name, to sequences by feature name. A feature
              is a number or a text a row, or a list of numbers a row. As many features as rows, in order; or a list
              ``row`` says for each feature which of the given rows it was made of. RowError names a row it refuses.
    key       what ``process`` does, in plain values: the tokenizer's fingerprint, labels, longest length ...
    length    the feature whose list length is the row's length in tokens, or which is that number
    media     columns of images or sounds: ``process`` gets them as lists of :class:`trainer.data.media.Media`, which
              stay features of the same name without being stored again

    DataError names file and row of what was refused; DiskError when the cache cannot be written.
    """

    columns = {name: Column(rows, name) for name in media}
    if media:
        say(f"looking at {len(rows):,} files")
    content = [column.digest() for column in columns.values()]
    chunk = MEDIA_CHUNK if media else CHUNK

    def build(target: Path, announce: Say) -> dict:
        count, schema, waiting = 0, None, []
        with ExitStack() as stack:
            sink = stack.enter_context(pa.OSFile(str(target), "wb"))
            for start in range(0, len(rows), chunk):
                table = _features(rows, columns, process, start, chunk, length)
                if schema is not None and table.schema != schema:
                    raise DataError(
                        f"the rows from {rows.where(start)} on were prepared as {_types(table.schema)}, those before "
                        f"as {_types(schema)}; a feature has one type"
                    )
                if schema is None:
                    schema, writer = table.schema, stack.enter_context(pa.ipc.new_stream(sink, table.schema))
                waiting.append(table)
                count += len(table)
                if sum(table.nbytes for table in waiting) > WRITE or start + chunk >= len(rows):
                    writer.write_table(pa.concat_tables(waiting).combine_chunks())
                    waiting.clear()
                announce(f"preparing {min(start + chunk, len(rows)):,} of {len(rows):,} rows")
        if not count:
            raise DataError(f"{rows.where.files[0][0]}: no examples were made of {len(rows):,} rows")
        return {"rows": count}

    name = cache.digest("features", cache.VERSION, rows.digest, key, length, *content)
    path, facts = cache.once("features", name, build, folder, say)
    return Dataset(path, rows.where, cache.digest(facts["hash"], *content), columns)


def _features(
    rows: Rows, media: Mapping[str, Column], process: Process, start: int, chunk: int, length: str
) -> pa.Table:
    stop = min(start + chunk, len(rows))
    count, others = stop - start, [name for name in rows.data.column_names if name not in media]
    given = rows.data.select_columns(others)[start:stop] if others else {}
    given |= {name: [column[i] for i in range(start, stop)] for name, column in media.items()}
    try:
        made = dict(process(given))
    except RowError as error:
        raise DataError(f"{rows.where(start + error.position)}: {error}") from None
    if length not in made:
        raise ValueError(f"the processor made {', '.join(made)}, and no {length!r} to tell lengths from")
    whole = len(made[length]) and not isinstance(made[length][0], Sized)
    sizes = np.fromiter(made[length] if whole else map(len, made[length]), np.int32, len(made[length]))
    owners = np.asarray(made.pop("row"), np.int64) if "row" in made else None
    for name, values in made.items():
        if len(values) != len(sizes) or (owners is None and len(values) != count):
            raise ValueError(f"the processor made {len(values)} {name!r} and {len(sizes)} {length!r} of {count} rows")

    def place(i: int) -> str:
        return rows.where(start + int(i if owners is None else owners[i]))

    if not sizes.all():
        raise DataError(f"{place(int(np.flatnonzero(sizes == 0)[0]))}: no tokens")
    columns = {name: _array(name, values) for name, values in made.items()}
    for name, column in columns.items():
        if column.null_count:
            first = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise DataError(f"{place(first)}: {name!r} was given no value")
    columns["length"] = pa.array(sizes)
    if owners is not None:
        columns["row"] = pa.array(owners + start)
    return pa.table(columns)


def _array(name: str, values: Sequence) -> pa.Array:
    """Lists of integers as int32, of other numbers as float32; single numbers as int64 and float64."""
    first = values[0] if len(values) else 0
    if not isinstance(first, list | tuple | np.ndarray):
        return pa.array(values)
    offsets = np.concatenate([[0], np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))])
    if isinstance(first, np.ndarray):
        flat = np.concatenate(values)
    else:
        flat = np.array(list(chain.from_iterable(values)) or [0])[: offsets[-1]]
    if flat.dtype.kind not in "iufb":
        raise ValueError(f"feature {name!r} holds lists of {flat.dtype}; lists hold numbers")
    if flat.dtype.kind in "iu" and len(flat) and (flat.max() > 2**31 - 1 or flat.min() < -(2**31)):
        raise ValueError(f"feature {name!r} holds {flat.max()}, more than 32 bits take")
    flat = flat.astype(np.float32 if flat.dtype.kind == "f" else np.int32, copy=False)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat))


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
