"""The norm of a gradient of which processes hold parts, each tensor divided in its own way."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm


def local(tensor: Tensor) -> Tensor:
    """What this process holds of ``tensor``, on the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def kept(p: Tensor) -> tuple[Tensor, ...]:
    """Where a weight lies between uses. DeepSpeed puts its part beside the parameter, which is empty unless it stays whole."""
    return (p.ds_tensor, p) if hasattr(p, "ds_tensor") else (p,)


def numel(p: Tensor) -> int:
    """How many numbers a weight has, wherever they are."""
    return getattr(p, "ds_numel", p.numel())


def divided(tensor: Tensor) -> tuple:
    """The groups of processes among which ``tensor`` is divided; none for one that is whole here."""
    if not isinstance(tensor, DTensor):
        return ()
    mesh = tensor.device_mesh
    return tuple(mesh.get_group(i) for i, placement in enumerate(tensor.placements) if not placement.is_replicate())


@torch.no_grad()
def total_norm(grads: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all ``grads`` and all their parts: a float64 scalar, the same on each process.

    One sum for each way of dividing, not one for each tensor. All processes call it together, with the same tensors.
    """
    ways: dict[tuple, list[Tensor]] = defaultdict(list)
    for grad in grads:
        ways[divided(grad)].append(local(grad))
    squares = []
    for groups, parts in ways.items():
        square = get_total_norm(parts).double() ** 2
        for group in groups:
            distributed.all_reduce(square, group=group)
        squares.append(square)
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), dtype=torch.float64)


@torch.no_grad()
def cut(grads: Sequence[Tensor], norm: Tensor, max_norm: float) -> None:
    """Scale ``grads`` so that their ``norm`` is at most ``max_norm``; a smaller one stays as it is."""
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grad in map(local, grads):
        grad.mul_(factor.to(grad.dtype))
