"""The model of a checkpoint as one safetensors file, for a disk larger than memory."""

from pathlib import Path

import torch

from trainer.checkpoint import files, manifest
from trainer.checkpoint.saved import Saved
from trainer.checkpoint.store import OTHERS, Checkpoints
from trainer.errors import DataError, DiskError


def find(folder: Path) -> Saved:
    """A checkpoint, or the newest whole one of a folder of them or of a run. Raises ``DataError`` where none is whole."""
    if (folder / manifest.NAME).exists() or folder.name.startswith("step_"):
        return Checkpoints(folder.parent).load(folder)
    held = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    path, refused = Checkpoints(held).newest_valid()
    if path is None:
        why = "".join(f"\n   {bad}: {reason}" for bad, reason in refused)
        raise DataError(f"no whole checkpoint (step_N) in {held}{why}\n   {OTHERS} {held}")
    return Saved(path)


def export(saved: Saved, path: Path) -> int:
    """Write the weights by our names to the file ``path``, one tensor at a time; the number of bytes.

    Raises ``DiskError`` where the disk refuses, with what stood at ``path`` untouched.
    """
    weights, aside = saved.weights(), path.with_name(f".{path.name}.tmp")
    like = {name: torch.empty(shape, dtype=dtype, device="meta") for name, (dtype, shape) in weights.shapes.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = files.write(aside, files.safetensors(like, weights.__getitem__))
        aside.replace(path)
        files.sync_folder(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DiskError(f"{path}: cannot be written ({error.strerror}); what stood there is untouched") from None
    return written["size"]
