"""``flax_model.msgpack``: a nested dictionary of arrays, read and written without Flax.

Only arrays are read: any other extension of the format, and any type that is not a plain number, is refused, so nothing in
a file can be made to run.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from catalog.errors import LoadError, MissingExtra, SaveError

NAME = "flax_model.msgpack"
_ARRAY, _SCALAR = 1, 3  # extension codes of Flax's serialization
_CHUNKED = "__msgpack_chunked_array__"
_CHUNK = 2**30  # bytes; larger arrays are stored in pieces
_TYPES = {
    *(
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    ),
    *("bfloat16", "complex64", "complex128"),
}


def read(path: Path) -> dict[str, np.ndarray]:
    """Every array by its path joined with ``/``. Raises LoadError naming the file and what is wrong with it."""
    msgpack = _package()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LoadError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        tree = msgpack.unpackb(data, ext_hook=_unpack, raw=False, strict_map_key=True, max_ext_len=len(data))
    except LoadError as error:
        raise LoadError(f"{path}: {error}") from None
    except Exception as error:
        raise LoadError(
            f"{path}: not a whole msgpack file ({type(error).__name__}: {error}); fetch or write it again"
        ) from None
    if not isinstance(tree, dict):
        raise LoadError(f"{path}: holds a {type(tree).__name__}, not a tree of arrays")
    flat: dict[str, np.ndarray] = {}
    _flatten(path, tree, "", flat)
    return flat


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their paths joined with ``/``, as Flax writes a tree; whole or not at all. Raises SaveError."""
    msgpack = _package()
    tree: dict = {}
    for name, array in sorted(arrays.items()):
        *parts, last = name.split("/")
        here = tree
        for part in parts:
            here = here.setdefault(part, {})
        here[last] = _chunked(np.array(array, order="C"))
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(msgpack.packb(tree, default=_pack, strict_types=True))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise SaveError(
            f"{path}: cannot be written ({error.strerror or error}); what stood there is untouched"
        ) from None


def _package():
    try:
        import msgpack
    except ImportError:
        raise MissingExtra(f'{NAME} needs the package msgpack: pip install "trivium[flax]"') from None
    return msgpack


def _pack(value):
    msgpack = _package()
    payload = msgpack.packb((value.shape, value.dtype.name, value.tobytes()), use_bin_type=True)
    return msgpack.ExtType(_ARRAY, payload)


def _unpack(code, data):
    msgpack = _package()
    if code not in (_ARRAY, _SCALAR):
        raise LoadError(f"extension {code} where only arrays belong; nothing but arrays is read")
    shape, dtype, content = msgpack.unpackb(data, raw=False, max_bin_len=len(data))
    dtype = dtype.decode() if isinstance(dtype, bytes) else dtype
    if dtype not in _TYPES:
        raise LoadError(f"an array of type {dtype!r}; arrays hold plain numbers")
    if dtype == "bfloat16":
        import ml_dtypes

        kind = np.dtype(ml_dtypes.bfloat16)
    else:
        kind = np.dtype(dtype)
    return np.frombuffer(content, kind).reshape(shape)


def _chunked(array):
    if array.nbytes <= _CHUNK:
        return array
    flat, step = array.reshape(-1), max(1, _CHUNK // array.dtype.itemsize)
    chunks = [flat[i : i + step] for i in range(0, flat.size, step)]
    return {
        _CHUNKED: True,
        "shape": {str(i): n for i, n in enumerate(array.shape)},
        "chunks": {str(i): chunk for i, chunk in enumerate(chunks)},
    }


def _flatten(path, tree, prefix, flat):
    if _CHUNKED in tree:
        tree = dict(tree)
        shape = [tree["shape"][str(i)] for i in range(len(tree["shape"]))]
        chunks = [tree["chunks"][str(i)] for i in range(len(tree["chunks"]))]
        flat[prefix] = np.concatenate(chunks).reshape(shape)
        return
    for name, value in tree.items():
        inner = f"{prefix}/{name}" if prefix else name
        if isinstance(value, dict):
            _flatten(path, value, inner, flat)
        elif isinstance(value, np.ndarray):
            flat[inner] = value
        else:
            raise LoadError(f"{path}: '{inner}' is a {type(value).__name__}; a weight file holds arrays only")
