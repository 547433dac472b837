"""Published weight files as one thing: names with shapes, and tensors read one at a time.

Only weights are read: safetensors, and PyTorch's ``.bin`` through ``torch.load(weights_only=True)``. No code from a
checkpoint is ever run.
"""

import itertools
import json
import math
import mmap
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from catalog.checkpoints import layout
from catalog.errors import LoadError

SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# file -> the modules that read it and know its names
FOREIGN = {"flax_model.msgpack": ("msgpack", "flax_names"), "tf_model.h5": ("h5", "tf_names")}


class Reader(Protocol):
    """The tensors of one checkpoint. ``path`` is what to call it in a message."""

    path: Path

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by its published name."""

    def dtype(self, name: str) -> torch.dtype:
        """The file's type of one tensor."""

    def read(self, name: str, box: tuple[slice, ...] | None = None) -> Tensor:
        """One tensor, or the part ``box`` of it, in the file's own type."""


_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64,
}  # fmt: skip


class SafetensorsReader:
    """One or several safetensors files; a tensor is read when it is asked for, into memory of its own.

    Not memory-mapped: a map's pages count as the process's memory beside whatever a tensor is cast or turned into, its
    tensors stand on odd addresses, and a model that looks into a file suffers when the file is written over.
    """

    def __init__(self, path: Path, files: list[Path]):
        self.path, self._homes, self._entries = path, {}, {}
        self.bytes = 0  # of weights, read so far
        for file in files:
            try:
                with safe_open(file, framework="pt"):  # checks lengths, types, shapes and that nothing overlaps
                    pass
                opened = open(file, "rb", buffering=0)  # noqa: SIM115 - closed with this reader
            except FileNotFoundError:
                raise LoadError(f"{file}: no such file; {path.name} names it") from None
            except (SafetensorError, OSError) as error:
                raise LoadError(f"{file}: not a whole safetensors file ({error}); fetch or write it again") from None
            size = int.from_bytes(opened.read(8), "little")
            for name, entry in json.loads(opened.read(size)).items():
                if name != "__metadata__":
                    self._homes[name], self._entries[name] = (opened, file, 8 + size), entry
                    if entry["dtype"] not in _TYPES:
                        raise LoadError(f"{file}: {name} is of type {entry['dtype']}; read are {', '.join(_TYPES)}")

    def shapes(self):
        return {name: tuple(entry["shape"]) for name, entry in self._entries.items()}

    def dtype(self, name):
        return _TYPES[self._entries[name]["dtype"]]

    def read(self, name, box=None):
        shape = self._entries[name]["shape"]
        box = tuple(slice(0, size) for size in shape) if box is None else box
        tensor = _memory([s.stop - s.start for s in box], self.dtype(name))
        left = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
        for start, size in _runs(shape, box, tensor.element_size()):
            self._read(name, start, left[:size])
            left = left[size:]
        self.bytes += tensor.nbytes
        return tensor

    def _read(self, name, at, into):
        opened, file, start = self._homes[name]
        opened.seek(start + self._entries[name]["data_offsets"][0] + at)
        while into:  # one call reads at most 2 GiB
            count = opened.readinto(into)
            if not count:
                raise LoadError(f"{file}: ends within {name}; it was cut off while it was read")
            into = into[count:]


def _runs(shape, box, width):
    """(offset, size) in bytes of each stretch of a file that a part of a tensor consists of, elements of ``width`` bytes."""
    whole = len(shape)  # the axes from here on are taken whole, so that what is before them lies in one piece
    while whole and box[whole - 1] == slice(0, shape[whole - 1]):
        whole -= 1
    inner = math.prod(shape[whole:]) * width
    if not whole:
        return [(0, inner)]
    size = (box[whole - 1].stop - box[whole - 1].start) * inner
    found = []
    for index in itertools.product(*(range(s.start, s.stop) for s in box[: whole - 1])):
        at = 0
        for i, n in zip((*index, box[whole - 1].start), shape):
            at = at * n + i
        found.append((at * inner, size))
    return found if size else []


def _memory(shape, dtype):
    """An empty tensor. A large one has pages of its own: what is read only to be cast goes back to the system at once."""
    size = math.prod(shape) * dtype.itemsize
    if size < 1 << 20:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, size), dtype=dtype).reshape(shape)


class BinReader:
    """PyTorch's own files, weights only, memory-mapped where the file allows it."""

    def __init__(self, path: Path, files: list[Path]):
        self.path, self._tensors = path, {}
        for file in files:
            self._tensors.update(_load_bin(file))

    def shapes(self):
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def dtype(self, name):
        return self._tensors[name].dtype

    def read(self, name, box=None):
        if box is not None:
            return self._tensors[name][box].clone()
        return self._tensors.pop(name)  # given away, so that what is read twice over is never held twice


def _load_bin(file):
    try:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files from before the zip format cannot be mapped
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LoadError(f"{file}: no such file, though the index names it") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise LoadError(f"{file}: not a file of weights alone ({reason}); code in a checkpoint is never run") from None
    wrong = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if wrong:
        raise LoadError(f"{file}: {wrong[0]!r} is no tensor; a weight file holds tensors only")
    return state


class ArrayReader:
    """The weight file of another framework: arrays whose names and layouts are turned into PyTorch's as they are read.

    ``to_torch(path, dimensions)`` gives the published name and the order of axes.
    """

    def __init__(self, path: Path, arrays: dict[str, np.ndarray], to_torch):
        self.path, self._arrays = path, {}
        for name, array in arrays.items():
            published, axes = to_torch(name, array.ndim)
            self._arrays[published] = layout.turned(array, axes)
            if published.endswith(".running_mean"):  # other frameworks count no batches
                self._arrays[published.removesuffix("running_mean") + "num_batches_tracked"] = np.zeros((), np.int64)

    def shapes(self):
        return {name: array.shape for name, array in self._arrays.items()}

    def dtype(self, name):
        return getattr(torch, self._arrays[name].dtype.name)

    def read(self, name, box=None):
        array = np.array(self._arrays[name] if box is None else self._arrays[name][box], order="C")
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
        return torch.from_numpy(array.copy())


def open_folder(folder: Path, prefer: str = "") -> Reader:
    """The weights of a folder in the published layout: safetensors before ``.bin``, an index before a single file, files of
    other frameworks last. ``prefer`` names a file that comes first where it is there.

    Raises LoadError naming what was looked for.
    """
    if prefer and (folder / prefer).is_file():
        return _foreign(folder / prefer)
    for index, single, kind in ((SAFETENSORS_INDEX, SAFETENSORS, SafetensorsReader), (BIN_INDEX, BIN, BinReader)):
        if (folder / index).is_file():
            return kind(folder / index, _indexed(folder / index))
        if (folder / single).is_file():
            return kind(folder / single, [folder / single])
    for name in FOREIGN:
        if (folder / name).is_file():
            return _foreign(folder / name)
    looked = ", ".join((SAFETENSORS, SAFETENSORS_INDEX, BIN, BIN_INDEX, *FOREIGN))
    raise LoadError(f"{folder}: no weights here; looked for {looked}")


def _foreign(path):
    file, names = (import_module(f"catalog.checkpoints.{module}") for module in FOREIGN[path.name])
    return ArrayReader(path, file.read(path), names.to_torch)


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise LoadError(f"{index}: not an index of weight files ({error})") from None
    for name in names:
        if Path(name).name != name:
            raise LoadError(f"{index}: '{name}' leaves the folder; an index names files beside it")
    return [index.parent / name for name in names]
