"""Safetensors files in the published layout, split where they grow too large; whole or not at all."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from catalog.checkpoints.readers import SAFETENSORS, SAFETENSORS_INDEX
from catalog.errors import SaveError

SHARD_BYTES = 5_000_000_000
_SHARD, _SHARD_FILES, _ASIDE = "model-{:05}-of-{:05}.safetensors", "model-?????-of-?????.safetensors", ".shard-{}.tmp"


def write_safetensors(
    folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Write named tensors as ``model.safetensors``, or as shards with an index; at most one shard is held at a time.

    Files appear under their names only when all of them are written and flushed. Raises SaveError where the disk refuses.
    """
    shards: list[tuple[Path, list[str]]] = []
    batch, size, total = {}, 0, 0
    try:
        for name, tensor in tensors:
            if batch and size + tensor.nbytes > shard_bytes:
                shards.append(_write(folder, len(shards), batch))
                batch, size = {}, 0
            batch[name] = tensor.detach().cpu().contiguous()
            size, total = size + tensor.nbytes, total + tensor.nbytes
        shards.append(_write(folder, len(shards), batch))
        return _publish(folder, shards, total)
    except OSError as error:
        for path, _ in shards:
            path.unlink(missing_ok=True)
        raise SaveError(
            f"{folder}: cannot write the weights ({error.strerror or error}); nothing was replaced"
        ) from None


def _write(folder, number, batch):
    path = folder / _ASIDE.format(number)
    try:
        save_file(batch, path, metadata={"format": "pt"})
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    except Exception as error:
        path.unlink(missing_ok=True)
        raise OSError(0, str(error)) from None
    return path, list(batch)


def _publish(folder, shards, total):
    """Bring whole files to their names. Readers look at the index first, so it is what turns the old set into the new one."""
    count, index = len(shards), folder / SAFETENSORS_INDEX
    names = [SAFETENSORS] if count == 1 else [_SHARD.format(i + 1, count) for i in range(count)]
    if count > 1 and any((folder / name).exists() for name in names):
        index.unlink(
            missing_ok=True
        )  # the old set's names are the new one's: better no set for a moment than a mixed one
        (folder / SAFETENSORS).unlink(missing_ok=True)
    for (path, _), name in zip(shards, names):
        os.replace(path, folder / name)
    if count == 1:
        index.unlink(missing_ok=True)
    else:
        weight_map = {tensor: name for (_, held), name in zip(shards, names) for tensor in held}
        write_text(index, json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2))
    for path in (*folder.glob(_SHARD_FILES), folder / SAFETENSORS, *folder.glob(_ASIDE.format("*"))):
        if path.name not in names:  # of the set before, or of a save that was killed
            path.unlink(missing_ok=True)
    return [folder / name for name in names]


def write_file(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as one safetensors file, aside and then in place. Raises SaveError naming it."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, aside, metadata={"format": "pt"}
        )
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        aside.unlink(missing_ok=True)
        raise SaveError(f"{path}: cannot be written ({error}); what stood there is untouched") from None


def write_text(path: Path, text: str) -> None:
    """Write a small file aside and put it in place. Raises SaveError naming it."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise SaveError(
            f"{path}: cannot be written ({error.strerror or error}); what stood there is untouched"
        ) from None
