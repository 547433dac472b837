"""Context parallelism: the tokens of each sequence divided among processes while the blocks compute.

What enters a stack of blocks is cut into runs of tokens, a run a process (the last one filled up with zeros); what leaves it is
put together again, so that embeddings, norms behind the stack, poolers, heads and losses of every model are as ever. Inside,
every layer works on its tokens alone, but attention: there processes trade tokens for heads, each attends with its heads
over whole sequences, by whichever kernel and mask, and they trade back. Positions are cut with the tokens, and masks stay
whole. Jacobs et al., 2023, "DeepSpeed Ulysses" (arXiv:2309.14509).

All processes of a group compute the same batch, and each takes its part of the loss as its own, so weights are divided and
gradients summed as under ``fsdp``, over all processes.
"""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn import functional as F

from trainer.errors import OptionError
from trainer.strategies import draws
from trainer.strategies.base import Fill
from trainer.strategies.collectives import Gathered, Traded
from trainer.strategies.mesh import divisors
from trainer.strategies.sharded import Sharded

ALONG = ("positions", "memory_positions")  # what a stack is told token by token beside the tokens themselves


class Divided:
    """A stack of blocks whose tokens are divided: how many there are, and whether it computes.

    The numbers are those of its last forward pass, for a block that is computed again in the backward pass.
    """

    def __init__(self, group: ProcessGroup):
        self.group, self.count = group, group.size()
        self.tokens = self.memory = 0  # in whole sequences, and in what cross attention reads
        self.inside = False

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Before the stack: this process's run of tokens [B, T, width], of the memory [B, S, width] and of positions."""
        self.tokens, self.inside = args[0].shape[1], True
        self.memory = args[1].shape[1] if len(args) > 1 and args[1] is not None else 0
        kwargs = {name: self.part(x) if name in ALONG and x is not None else x for name, x in kwargs.items()}
        return tuple(None if x is None else self.part(x) for x in args), kwargs

    def leave(self, module: nn.Module, args: tuple, out: Tensor) -> Tensor:
        """Behind it: all tokens again."""
        whole = Gathered.apply(out, self.group).movedim(0, 1).flatten(1, 2)[:, : self.tokens]
        self.inside = False
        return whole

    def divides(self, q: Tensor) -> bool:
        """Whether q [B, heads, t, d] holds a run of tokens: not where blocks are called one by one, outside of their stack."""
        again = torch._C._current_graph_task_id() != -1  # in a backward pass: the block is computed again
        return self.inside or (again and q.shape[2] == -(-self.tokens // self.count))

    def part(self, x: Tensor) -> Tensor:
        """x [B, T, ...] -> [B, ceil(T / processes), ...]."""
        each = -(-x.shape[1] // self.count)
        filled = F.pad(x, (0, 0) * (x.dim() - 2) + (0, each * self.count - x.shape[1]))
        return filled.narrow(1, self.group.rank() * each, each)

    def heads(self, x: Tensor, tokens: int) -> Tensor:
        """All heads of some tokens -> some heads of all tokens: [B, heads, t, d] -> [B, heads / processes, T, d]."""
        x = x.unflatten(1, (self.count, -1)).movedim(1, 0)
        return Traded.apply(x, self.group).movedim(0, 2).flatten(2, 3)[:, :, :tokens]

    def runs(self, x: Tensor) -> Tensor:
        """The inverse of ``heads``."""
        x = F.pad(x, (0, 0, 0, -x.shape[2] % self.count)).unflatten(2, (self.count, -1)).movedim(2, 0)
        return Traded.apply(x, self.group).movedim(0, 1).flatten(1, 2)


def _attend(attend, stack: Divided, cross: bool, q, k, v, mask=None, *, bias=None, scale=None, dropout=0.0) -> Tensor:
    """As ``attend``, over q, k and v that hold this process's tokens alone; mask and bias are of whole sequences."""
    if not stack.divides(q):
        return attend(q, k, v, mask, bias=bias, scale=scale, dropout=dropout)
    keys = stack.memory if cross else stack.tokens
    again = math.lcm(k.shape[1], stack.count) // k.shape[1]  # fewer key/value heads than processes: some go to several
    both = torch.cat([k, v], -1).repeat_interleave(again, 1)
    k, v = stack.heads(both, keys).chunk(2, -1)
    if bias is not None and bias.shape[1] > 1:
        bias = bias.chunk(stack.count, 1)[stack.group.rank()]
    return stack.runs(attend(stack.heads(q, stack.tokens), k, v, mask, bias=bias, scale=scale, dropout=dropout))


def stacks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every stack whose blocks have an attention that can be divided."""
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "layers" and list(attentions(module)):
            yield name, module


def attentions(stack: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name (``attn`` or ``cross``) and module of every attention of a stack's blocks."""
    for block in stack.children():
        for name in ("attn", "cross"):
            if hasattr(part := getattr(block, name, None), "attend"):
                yield name, part


def check(model: nn.Module, cp: int) -> None:
    """Raise :class:`OptionError` where ``model`` cannot be divided among ``cp`` processes, with the nearest legal number."""
    title = getattr(model, "name", type(model).__name__)
    found = {
        f"{stack}.*.{name}": part.q.out_features // part.head_dim
        for stack, module in stacks(model) for name, part in attentions(module)
    }  # fmt: skip
    if not found:
        raise OptionError(
            f"strategy=cp finds no sequences to divide in {title}: no stack 'layers' of blocks with attention\n"
            "   choose strategy=fsdp for this model"
        )
    legal = divisors(math.gcd(*found.values()))
    for name, heads in found.items():
        if heads % cp:
            raise OptionError(
                f"strategy.cp={cp} does not divide {title}: {name} has {heads} heads; legal: "
                f"cp={','.join(map(str, legal))}\n   the nearest is strategy.cp={min(legal, key=lambda n: abs(n - cp))}"
            )


def split(model: nn.Module, group: ProcessGroup) -> nn.Module:
    """Divide the tokens of every stack of ``model`` among ``group``, in place. Call :func:`check` before."""
    for _, module in list(stacks(model)):
        stack = Divided(group)
        module.register_forward_pre_hook(stack.enter, with_kwargs=True)
        module.register_forward_hook(stack.leave)
        for name, part in attentions(module):
            part.attend = partial(_attend, part.attend, stack, name == "cross")
            if part.dropout > 0:
                draws.own(part, group.rank())
        for part in module.modules():
            if isinstance(part, nn.Dropout) and part.p > 0:
                draws.own(part, group.rank())
    return model


class ContextParallel(Sharded):
    """``cp``: see the module's docstring and :class:`trainer.strategies.base.Strategy`."""

    def owners(self) -> DeviceMesh:
        """All processes: each has gradients of its own tokens."""
        return self.everyone

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        check(model, self.mesh["cp"].size())
        self.everyone = init_device_mesh(self.device.type, (self.world,), mesh_dim_names=("shard",))
        return super().setup(model, fill)

    def divide(self, model: nn.Module) -> nn.Module:
        return split(model, self.mesh["cp"].get_group())

    def backward(self, loss: Tensor) -> None:
        super().backward(loss / self.mesh["cp"].size())
