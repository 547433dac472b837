"""``tf_model.h5``: the weights of a Keras model by layer and name, read and written without TensorFlow.

Only arrays of plain numbers that lie in the file itself are read: links to other files, virtual and external data and
objects are refused, so nothing outside is opened and nothing can be made to run.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from catalog.errors import LoadError, MissingExtra, SaveError

NAME = "tf_model.h5"
_LARGEST = 64000  # bytes of an attribute; lists that are longer go in numbered pieces
_TOP = "top_level_model_weights"


def read(path: Path) -> dict[str, np.ndarray]:
    """Every array by its name without ``:0``. Raises LoadError naming the file and what is wrong with it."""
    h5py = _package()
    found: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            layers = _list(file, "layer_names")
            if layers is None:
                raise LoadError(f"{path}: no layer_names; not a weight file of a Keras model")
            for layer in dict.fromkeys([*layers, _TOP]):
                if layer not in file:
                    if layer == _TOP:
                        continue
                    raise LoadError(f"{path}: layer '{layer}' is listed and not there")
                for name in _list(file[layer], "weight_names") or []:
                    found[name.partition(":")[0]] = _array(h5py, path, file[layer], name)
    except OSError as error:
        raise LoadError(f"{path}: not a whole HDF5 file ({error}); fetch or write it again") from None
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, UnicodeDecodeError) as error:
        raise LoadError(f"{path}: not a weight file of a Keras model ({type(error).__name__}: {error})") from None
    return found


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their names as Keras writes a model's weights; whole or not at all. Raises SaveError.

    The format has no bf16: such arrays are stored as fp32, which holds them exactly.
    """
    h5py = _package()
    layers: dict[str, list[str]] = {}
    for name in arrays:
        words = name.split("/")
        layers.setdefault(words[1] if len(words) > 2 else words[0] if len(words) == 2 else _TOP, []).append(name)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(aside, "w") as file:
            _put(file, "layer_names", [layer for layer in layers if layer != _TOP])
            file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
            for layer in dict.fromkeys([*layers, _TOP]):
                group = file.create_group(layer)
                _put(group, "weight_names", [f"{name}:0" for name in layers.get(layer, ())])
                for name in layers.get(layer, ()):
                    array = arrays[name]
                    wide = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
                    group.create_dataset(f"{name}:0", data=np.ascontiguousarray(wide).reshape(array.shape))
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise SaveError(
            f"{path}: cannot be written ({error.strerror or error}); what stood there is untouched"
        ) from None


def _package():
    try:
        import h5py
    except ImportError:
        raise MissingExtra(f'{NAME} needs the package h5py: pip install "trivium[tf]"') from None
    return h5py


def _array(h5py, path, group, name):
    """One array; every link on the way to it must lie in this file."""
    for step in _steps(name):
        if not isinstance(group.get(step, getlink=True), h5py.HardLink):
            raise LoadError(f"{path}: '{name}' is missing or a link; a weight file holds its own arrays")
        group = group[step]
    if not isinstance(group, h5py.Dataset) or group.is_virtual or group.external:
        raise LoadError(f"{path}: '{name}' is no array that lies in this file")
    if group.dtype.kind not in "fiub":
        raise LoadError(f"{path}: '{name}' holds {group.dtype}; a weight file holds plain numbers")
    return group[()] if group.shape else np.asarray(group[()])


def _steps(name) -> Iterator[str]:
    return (step for step in name.split("/") if step)


def _list(group, name) -> list[str] | None:
    """A list of names in the attributes, which long ones are spread over by number."""
    if name in group.attrs:
        pieces = [group.attrs[name]]
    else:
        pieces = []
        while f"{name}{len(pieces)}" in group.attrs:
            pieces.append(group.attrs[f"{name}{len(pieces)}"])
        if not pieces:
            return None
    return [one.decode() if isinstance(one, bytes) else str(one) for piece in pieces for one in piece]


def _put(group, name, words):
    coded = np.array([word.encode() for word in words], dtype=f"S{max([len(w.encode()) for w in words], default=1)}")
    pieces = 1
    while len(words) and max(part.nbytes for part in np.array_split(coded, pieces)) > _LARGEST:
        pieces += 1
    if pieces == 1:
        group.attrs[name] = coded
        return
    for number, part in enumerate(np.array_split(coded, pieces)):
        group.attrs[f"{name}{number}"] = part
