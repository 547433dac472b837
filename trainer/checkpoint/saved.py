"""A checkpoint on the disk, read by any number of processes: each takes of every tensor what it holds of it."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)

from trainer.checkpoint import manifest, tree
from trainer.checkpoint.files import DTYPES
from trainer.errors import DataError

INDEX = "index.json"
MODEL = "model."  # what precedes the names of the model's tensors (trainer.strategies.state)
OWN = "own."  # what precedes the names of tensors that belong to one process alone, as its generators' states
DTYPE_OF = {name: dtype for dtype, name in DTYPES.items()}


def tensors_of(rank: int) -> str:
    """The file with the tensors that process ``rank`` wrote."""
    return f"rank_{rank}.safetensors"


def values_of(rank: int) -> str:
    """The file with everything else of that process."""
    return f"rank_{rank}.json"


class Saved:
    """What is in ``step_N``, read when it is asked for; whether its files are whole was found out before."""

    def __init__(self, path: Path):
        self.path = path
        self._index = json.loads((path / INDEX).read_bytes())
        self.shapes = {name: (DTYPE_OF[e["dtype"]], torch.Size(e["shape"])) for name, e in self._index.items()}

    def values(self, rank: int = 0) -> Any:
        """What process ``rank`` kept for itself, equal to what it gave, tensors on the CPU."""
        world = manifest.read_manifest(self.path)["world"]
        if rank >= world:
            raise DataError(f"{self.path} was saved by {world} processes and has no part for rank {rank}")
        nodes = json.loads((self.path / values_of(rank)).read_bytes())
        with self._open(rank) as file:  # copied: the file may be retired while they live
            names = [name for name in file.keys() if name.startswith(OWN)]  # noqa: SIM118 (a file is not a dict)
            own = {name.removeprefix(OWN): file.get_tensor(name).clone() for name in names}
        return tree.restore(nodes, own)

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the saved values into ``tensors``, which have names and shapes of the checkpoint (``shapes``).

        A ``DTensor`` takes the part that this process holds, however it was divided when it was saved. Only what is
        needed is read, and no process waits for another.
        """
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        planner.set_up_planner(dict(tensors), Metadata({name: self._metadata(name) for name in tensors}))
        wanted = defaultdict(list)
        for item in planner.create_local_plan().items:
            part = self._index[item.storage_index.fqn]["parts"][item.storage_index.index]
            wanted[part[0]].append(item)
        with torch.no_grad():
            for rank, items in wanted.items():
                with self._open(rank) as file:
                    for item in items:
                        source = file.get_slice(item.storage_index.fqn)
                        ends = zip(item.storage_offsets, item.lengths)
                        where = tuple(slice(start, start + length) for start, length in ends)
                        value = source[where] if where else file.get_tensor(item.storage_index.fqn)
                        planner.resolve_tensor(item).detach().copy_(value)

    def whole(self, name: str) -> Tensor:
        """One tensor put together from all its parts, on the CPU."""
        dtype, shape = self.shapes[name]
        tensor = torch.empty(shape, dtype=dtype)
        self.fill({name: tensor})
        return tensor

    def weights(self) -> "Weights":
        """The model's tensors by name, each put together when it is asked for."""
        return Weights(self)

    def _metadata(self, name: str) -> TensorStorageMetadata:
        entry, (dtype, shape) = self._index[name], self.shapes[name]
        chunks = [ChunkStorageMetadata(torch.Size(at), torch.Size(sizes)) for _, at, sizes in entry["parts"]]
        return TensorStorageMetadata(TensorProperties(dtype), shape, chunks)

    @contextmanager
    def _open(self, rank: int) -> Iterator[Any]:
        path = self.path / tensors_of(rank)
        try:
            with safe_open(path, "pt") as file:
                yield file
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None


class Weights(Mapping[str, Tensor]):
    """The tensors of the saved model, whole, on the CPU; none is held here, so the memory of one is enough."""

    def __init__(self, saved: Saved):
        self._saved = saved
        self.shapes = {key.removeprefix(MODEL): its for key, its in saved.shapes.items() if key.startswith(MODEL)}

    def __getitem__(self, name: str) -> Tensor:
        return self._saved.whole(MODEL + name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)
