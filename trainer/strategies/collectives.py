"""What tensors do between processes inside a model, each with the gradient that belongs to it.

Two conventions. Under tensor parallelism all processes compute one loss: a tensor that all hold alike has one gradient,
whole on each. Under context parallelism each process has a copy of every weight and a part of the loss of its own; what
all gradients sum up to is the gradient, so every exchange has its plain adjoint.
"""

import torch
from torch import Tensor, distributed
from torch.autograd import Function
from torch.distributed import ProcessGroup


class Copied(Function):
    """Tensor parallelism: x, held alike by all, goes into what each computes a part of; the parts' gradients are summed."""

    @staticmethod
    def forward(ctx, x: Tensor, group: ProcessGroup) -> Tensor:
        """The same tensor."""
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        """The sum of all gradients."""
        return _summed(grad, ctx.group), None


class Summed(Function):
    """Tensor parallelism: the sum of what each process has; every part has the gradient of the whole."""

    @staticmethod
    def forward(ctx, x: Tensor, group: ProcessGroup) -> Tensor:
        """The sum, the same on each process."""
        return _summed(x, group)

    @staticmethod
    def backward(ctx, grad):
        """The same gradient."""
        return grad, None


class Joined(Function):
    """Tensor parallelism: parts of the last dimension, ``ceil(size / processes)`` each but the last, as a whole [..., size]."""

    @staticmethod
    def forward(ctx, x: Tensor, size: int, group: ProcessGroup) -> Tensor:
        """The whole, the same on each process."""
        ctx.rank, ctx.own, ctx.each = group.rank(), x.shape[-1], -(-size // group.size())
        parts = _gathered(torch.nn.functional.pad(x, (0, ctx.each - ctx.own)), group)
        return parts.movedim(0, -2).flatten(-2)[..., :size].contiguous()

    @staticmethod
    def backward(ctx, grad):
        """The gradient's own part."""
        return grad.narrow(-1, min(ctx.rank * ctx.each, grad.shape[-1]), ctx.own).contiguous(), None, None


class Cut(Function):
    """Tensor parallelism: this process's part of dimension 1 of x, held alike by all; its gradient is put together again."""

    @staticmethod
    def forward(ctx, x: Tensor, group: ProcessGroup) -> Tensor:
        """x [B, heads, ...] -> [B, heads / processes, ...]."""
        ctx.group = group
        return x.chunk(group.size(), 1)[group.rank()].contiguous()

    @staticmethod
    def backward(ctx, grad):
        """The gradients of all parts, side by side."""
        return _gathered(grad, ctx.group).movedim(0, 1).flatten(1, 2), None


class Gathered(Function):
    """Context parallelism: the tensors of all processes, one behind the other in a new dimension 0."""

    @staticmethod
    def forward(ctx, x: Tensor, group: ProcessGroup) -> Tensor:
        """x -> [processes, *x.shape]."""
        ctx.group = group
        return _gathered(x, group)

    @staticmethod
    def backward(ctx, grad):
        """What all processes found for the own part, summed."""
        own = torch.empty_like(grad[0], memory_format=torch.contiguous_format)
        distributed.reduce_scatter(own, list(grad.contiguous()), group=ctx.group)
        return own, None


class Traded(Function):
    """Context parallelism: x [processes, ...] holds a part for each; out come the parts that each has for this one."""

    @staticmethod
    def forward(ctx, x: Tensor, group: ProcessGroup) -> Tensor:
        """Of the same shape."""
        ctx.group = group
        return _traded(x, group)

    @staticmethod
    def backward(ctx, grad):
        """The gradients go back the same way."""
        return _traded(grad, ctx.group), None


def _summed(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total, group=group)
    return total


def _gathered(x: Tensor, group: ProcessGroup) -> Tensor:
    whole = x.new_empty(group.size(), *x.shape)
    distributed.all_gather(list(whole), x.contiguous(), group=group)
    return whole


def _traded(x: Tensor, group: ProcessGroup) -> Tensor:
    received = torch.empty_like(x, memory_format=torch.contiguous_format)
    distributed.all_to_all_single(received, x.contiguous(), group=group)
    return received
