"""Files that are on the disk when the call returns, hashed on the way there."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

CHUNK = 1 << 22
DTYPES = {  # the names the safetensors format gives them
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64", torch.bool: "BOOL",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
}  # fmt: skip


def write(path: Path, chunks: Iterable[bytes | memoryview]) -> dict:
    """Write and fsync ``path``; its size in bytes and sha256. OSError carries the file's name."""
    digest, size = hashlib.sha256(), 0
    try:
        with open(path, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return {"size": size, "sha256": digest.hexdigest()}


def sync_folder(path: Path) -> None:
    """Make the names in a folder (created, renamed) as durable as the files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_of(path: Path) -> str:
    """sha256 of a file, as hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def safetensors(
    tensors: Mapping[str, Tensor], read: Callable[[str], Tensor] | None = None
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, tensor by tensor: at most one tensor is held twice.

    With ``read`` the values come from it, one at a time, and ``tensors`` are only looked at for shape and dtype (``meta``).
    The library's own writer holds all of them twice, cannot hash on the way and hides a full disk's error number.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # wide ones first keeps alignment
    header, offset = {}, 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise TypeError(f"cannot keep {name}: the safetensors format has no {tensor.dtype}")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in names:
        if tensors[name].numel():
            flat = (read or tensors.__getitem__)(name).cpu().contiguous().reshape(-1)
            yield memoryview(flat.view(torch.uint8).numpy())
