"""Weights kept in bf16: each update is computed in fp32 and rounded up or down at random, right on average.

An update is often smaller than half the distance between two bf16 numbers; rounded to the nearest, it would be lost at every
step. Rounded up with the probability of what is cut off, the expected weight is the exact one (Zamirai et al., 2020,
"Revisiting BFloat16 Training", arXiv:2010.06192). The draws follow from the number of updates alone: the same on every
process that holds a copy, and after a resume.
"""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

COUNT = "rounded"  # beside the optimizer's own state of a parameter: how often it was rounded
_SPREAD = 1_000_003  # more than a model has parameters, so that no two of their streams are one


def step(optimizer: Optimizer) -> None:
    """``optimizer.step()`` with bf16 weights updated through an fp32 copy, one at a time; others as ever.

    The optimizer's state of a bf16 weight is fp32 too, as it is made for the copy.
    """
    groups = optimizer.param_groups
    narrow = [(group, p) for group in groups for p in group["params"] if p.dtype == torch.bfloat16]
    if not narrow:
        optimizer.step()
        return
    try:
        for index, (group, p) in enumerate(narrow):
            if p.grad is not None:
                optimizer.param_groups = [{**group, "params": [wide := p.detach().float()]}]
                wide.grad = p.grad.float()
                _update(optimizer, p, wide, index)
        optimizer.param_groups = [
            {**group, "params": [p for p in group["params"] if p.dtype != torch.bfloat16]} for group in groups
        ]
        if any(group["params"] for group in optimizer.param_groups):
            optimizer.step()
    finally:
        optimizer.param_groups = groups


def _update(optimizer: Optimizer, p: Tensor, wide: Tensor, index: int) -> None:
    held = optimizer.state.pop(p, {})
    done = int(held.pop(COUNT, 0))
    if held:
        optimizer.state[wide] = held
    optimizer.step()
    generator = torch.Generator(p.device).manual_seed(done * _SPREAD + index)
    into(_local(p), _local(wide), generator)
    held = optimizer.state.pop(wide, {})
    optimizer.state[p] = {**held, COUNT: torch.tensor(done + 1)}


@torch.no_grad()
def into(narrow: Tensor, wide: Tensor, generator: torch.Generator) -> None:
    """Write fp32 ``wide`` into bf16 ``narrow``, each number to one of its two neighbours, the nearer the likelier.

    A bf16 number is the upper half of an fp32 one: noise below it carries over with the probability of the lower half.
    Numbers that bf16 has, infinities and NaN among them, stay what they are.
    """
    noise = torch.empty(wide.shape, dtype=torch.int32, device=wide.device).random_(0, 1 << 16, generator=generator)
    narrow.copy_(noise.add_(wide.contiguous().view(torch.int32)).bitwise_and_(-1 << 16).view(torch.float32))


def _local(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
