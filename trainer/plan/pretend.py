"""A process of a cluster that is not there: collectives that reach nobody, tensors that hold nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, distributed
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.distributed.tensor import DTensor, debug
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

MOST = 1 << 22  # numbers of a tensor that is computed although no result is wanted
_aten = torch.ops.aten


@contextmanager
def processes(nodes: int, gpus: int, rank: int = 0) -> Iterator[None]:
    """Within the block this is process ``rank`` of ``nodes * gpus``; a collective leaves tensors as they are."""
    world = nodes * gpus
    names = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": gpus, "RANK": rank, "LOCAL_RANK": rank % gpus}
    with mock.patch.dict(os.environ, {name: str(value) for name, value in names.items()}):
        if world == 1:
            yield
            return
        distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
        try:
            yield
        finally:
            distributed.destroy_process_group()
            debug._clear_sharding_prop_cache()  # it remembers meshes of these processes


class Known(TorchDispatchMode):
    """Above a ``FakeTensorMode``: what follows from the batch alone is computed, as lengths, masks and where labels are.

    A model reads such tensors as Python numbers, and picks rows by them; weights and all that depends on them hold nothing.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """``func``, really where all its tensors are real, small, and no floating point numbers out of nothing."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented
        kwargs = kwargs or {}
        given = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
        if func is _aten.index.Tensor and isinstance(args[0], FakeTensor):
            args = (args[0], places(args[1]))
        if any(isinstance(t, FakeTensor) for t in given) or func.namespace not in ("aten", "c10d"):
            return func(*args, **kwargs)
        if not given and func is not _aten.lift_fresh.default:
            made = func(*args, **kwargs)
            if made is None or not isinstance(made, Tensor) or made.is_floating_point() or made.numel() > MOST:
                return made
        elif func.namespace == "aten" and not _small(given):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)


def places(indices: list) -> list:
    """A mask among indices as the numbers of its rows, whose count is known."""
    found: list = []
    for index in indices:
        if isinstance(index, Tensor) and index.dtype == torch.bool and not isinstance(index, FakeTensor):
            with unset_fake_temporarily():
                found += index.nonzero(as_tuple=True)
        else:
            found.append(index)
    return found


def _small(given: list[Tensor]) -> bool:
    """Whether what is made of these tensors is, as far as they are stretched to each other's shapes."""
    try:
        shape = torch.broadcast_shapes(*(t.shape for t in given))
    except RuntimeError:
        shape = torch.Size()
    return max(shape.numel(), *(t.numel() for t in given)) <= MOST
