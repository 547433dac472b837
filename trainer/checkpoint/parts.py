"""Which process writes which part of which tensor. PyTorch's planner decides it, the index of a checkpoint keeps it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import DefaultSavePlanner
from torch.distributed.checkpoint.planner import SavePlan

from trainer.checkpoint.files import DTYPES

Index = dict[str, dict[str, Any]]  # name -> {"dtype", "shape", "parts": [[rank, offsets, sizes], ...]}


class Parts:
    """Divides tensors among processes; what several of them hold is written by one, and each gets about as much to write."""

    def __init__(self, rank: int, gather: Callable[[Any], list[Any]]):
        self._rank, self._gather = rank, gather
        self._local = self._mine = None
        self.index: Index = {}  # of the last call

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parts that this process writes, by name; not copies. Called by all processes together.

        Raises ``TypeError`` naming a tensor that a checkpoint cannot hold.
        """
        for name, tensor in tensors.items():
            if tensor.dtype not in DTYPES or tensor.layout is not torch.strided or tensor.is_meta:
                raise TypeError(f"cannot keep {name}: a checkpoint holds dense tensors with values, not {tensor.dtype}")
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        planner.set_up_planner(dict(tensors), is_coordinator=self._rank == 0)
        local = planner.create_local_plan()
        if not all(self._gather(local.items == self._local)):  # as a rule it is that of the last save
            plans, _ = planner.create_global_plan(self._gather(local))
            self._local, self._mine, self.index = local.items, plans[self._rank].items, _index(plans)
        return {item.index.fqn: planner.resolve_data(item).detach() for item in self._mine}


class Staging:
    """Copies in main memory, which training does not change; the memory is used again for the next save."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies of ``tensors``, complete when this returns."""
        before, self._held = self._held, {}
        for name, tensor in tensors.items():
            room = before.pop(name, None)
            if room is None or room.shape != tensor.shape or room.dtype != tensor.dtype:
                room = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._held[name] = room.copy_(tensor, non_blocking=True)
        if any(tensor.is_cuda for tensor in tensors.values()):
            torch.cuda.synchronize()
        return dict(self._held)


def _index(plans: list[SavePlan]) -> Index:
    index: Index = {}
    for rank, plan in enumerate(plans):
        for item in plan.items:
            data = item.tensor_data
            entry = {"dtype": DTYPES[data.properties.dtype], "shape": list(data.size), "parts": []}
            parts = index.setdefault(item.index.fqn, entry)["parts"]
            parts.append([rank, list(data.chunk.offsets), list(data.chunk.sizes)])
    return index
