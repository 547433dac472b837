"""Tensor parallelism: one plan by name for every model whose blocks have an attention and an MLP of the usual parts.

=======================  ==================================================================================
``*.attn``, ``*.cross``  ``q k v`` by rows, that is by heads; ``out`` by columns; a bias a head is cut to the heads
``*.mlp``                ``up gate`` by rows, ``down`` by columns
token table, its head    by rows, over the vocabulary; tied ones stay one tensor; logits are put together again
all else                 whole on each process: norms, positions, poolers, other heads, biases behind a sum
=======================  ==================================================================================

Shoeybi et al., 2019, "Megatron-LM" (arXiv:1909.08053). A divided parameter is a ``DTensor`` on the mesh, so that checkpoints
know its place; computing is done on the parts themselves, with two sums over the processes a block and direction.
Processes of one tensor-parallel group compute the same batch, and outside of the divided parts the same numbers: the
gradient of a parameter that is whole on each is whole on each.
"""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.nn import functional as F

from trainer.errors import OptionError
from trainer.strategies import draws
from trainer.strategies.base import Fill
from trainer.strategies.collectives import Copied, Cut, Joined, Summed
from trainer.strategies.mesh import divisors
from trainer.strategies.several import Several, alike
from trainer.strategies.sharded import Sharded

ROWS, COLUMNS = ("q", "k", "v", "up", "gate"), ("out", "down")  # the parts of an attention or MLP
TABLES = (".embed.tokens", ".embed")  # how the name of a token table ends


def check(model: nn.Module, tp: int) -> None:
    """Raise :class:`OptionError` where ``model`` cannot be divided among ``tp`` processes, with the nearest legal number."""
    title, heads, found = getattr(model, "name", type(model).__name__), {}, list(parts(model))
    if not found:
        raise OptionError(
            f"tensor parallelism finds nothing to divide in {title}: no attention or MLP of the usual parts\n"
            "   choose strategy=fsdp for this model"
        )
    for name, module in found:
        if extra := _unknown(module):
            raise OptionError(
                f"tensor parallelism cannot divide {name}.{extra} of {title}: its plan knows plain matrices q, k, v, out, up, "
                "gate and down, and a bias a head\n   choose strategy=fsdp for this model"
            )
        if hasattr(module, "q"):
            heads[f"{name}: heads"] = module.q.out_features // module.head_dim
            heads[f"{name}: key/value heads"] = module.k.out_features // module.head_dim
    legal = divisors(math.gcd(*heads.values())) if heads else [tp]
    for what, count in heads.items():
        if count % tp:
            raise OptionError(
                f"strategy.tp={tp} does not divide {title}, {what}: {count}; legal: tp={','.join(map(str, legal))}\n"
                f"   the nearest is strategy.tp={min(legal, key=lambda n: abs(n - tp))}"
            )


def parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every attention and MLP that the plan divides, in the model's order."""
    for name, module in model.named_modules():
        its = {"attn": ("q", "attend"), "cross": ("q", "attend"), "mlp": ("up", "down")}.get(name.rpartition(".")[2])
        if its and all(hasattr(module, part) for part in its):
            yield name, module


def tables(model: nn.Module, tp: int) -> list[nn.Embedding]:
    """The token tables, as far as each of ``tp`` processes gets a row."""
    found = [m for name, m in model.named_modules() if isinstance(m, nn.Embedding) and f".{name}".endswith(TABLES)]
    return [table for table in found if -(-table.num_embeddings // tp) * (tp - 1) < table.num_embeddings]


def split(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Divide ``model`` in place over ``mesh``, which has one dimension; parameters may be on ``meta``.

    Call :func:`check` before.
    """
    group, done = mesh.get_group(), {}
    for _, module in list(parts(model)):
        for name, part in module.named_children():
            if name in ROWS:
                _shard(part, 0, mesh, done)
                part.forward = partial(_rows, part)
            elif name in COLUMNS:
                _shard(part, 1, mesh, done)
                part.forward = partial(_columns, part, group)
        module.register_forward_pre_hook(partial(_enter, group), with_kwargs=True)
        if hasattr(module, "attend"):
            module.attend = partial(_attend, module.attend, group)
        if draws.drops(module):
            draws.own(module, group.rank())
    found = tables(model, group.size())
    for table in found:
        _shard(table, 0, mesh, done)
        table.forward = partial(_look_up, table, group)
    head = getattr(model, "out", None)
    if isinstance(head, nn.Linear) and head.out_features in [table.num_embeddings for table in found]:
        _shard(head, 0, mesh, done)
        head.forward = partial(_score, head, group)
    return model


def _shard(module: nn.Module, dim: int, mesh: DeviceMesh, done: dict[nn.Parameter, nn.Parameter]) -> None:
    """Keep this process's part of the module's parameters along ``dim``; ``done`` keeps tied ones one."""
    for name, whole in list(module.named_parameters(recurse=False)):
        if whole.dim() <= dim:
            continue
        if whole not in done:
            each = -(-whole.shape[dim] // mesh.size())
            start = mesh.get_local_rank() * each
            part = (
                whole.detach()
                .narrow(dim, start, min(each, whole.shape[dim] - start))
                .clone(memory_format=torch.contiguous_format)
            )
            placed = DTensor.from_local(
                part, mesh, [Shard(dim)], run_check=False, shape=whole.shape, stride=whole.stride()
            )
            done[whole] = nn.Parameter(placed, requires_grad=whole.requires_grad)
        module.register_parameter(name, done[whole])


def _enter(group: ProcessGroup, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """States go in whole and their gradients come out summed; a bias a head is cut later, by ``_attend``."""

    def copied(x):
        return Copied.apply(x, group) if isinstance(x, Tensor) and x.is_floating_point() else x

    kwargs = {name: x if name == "bias" else copied(x) for name, x in kwargs.items()}
    return tuple(map(copied, args)), kwargs


def _attend(attend, group: ProcessGroup, q, k, v, mask=None, *, bias=None, scale=None, dropout=0.0) -> Tensor:
    if bias is not None and bias.shape[1] > 1:
        bias = Cut.apply(bias, group)
    return attend(q, k, v, mask, bias=bias, scale=scale, dropout=dropout)


def _rows(linear: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, linear.weight.to_local(), None if linear.bias is None else linear.bias.to_local())


def _columns(linear: nn.Linear, group: ProcessGroup, x: Tensor) -> Tensor:
    y = Summed.apply(F.linear(x, linear.weight.to_local()), group)
    return y if linear.bias is None else y + linear.bias.to(y.dtype)


def _look_up(table: nn.Embedding, group: ProcessGroup, ids: Tensor) -> Tensor:
    weight = table.weight.to_local()
    start = group.rank() * -(-table.num_embeddings // group.size())
    index = ids - start
    here = (index >= 0) & (index < len(weight))
    pad = (
        None
        if table.padding_idx is None or not 0 <= table.padding_idx - start < len(weight)
        else (table.padding_idx - start)
    )
    x = F.embedding(index.where(here, 0), weight, pad)
    return Summed.apply(x.masked_fill(~here[..., None], 0.0), group)


def _score(linear: nn.Linear, group: ProcessGroup, x: Tensor) -> Tensor:
    return Joined.apply(_rows(linear, Copied.apply(x, group)), linear.out_features, group)


def _unknown(module: nn.Module) -> str | None:
    """A part of an attention or MLP that the plan has no rule for; a bias is cut to its heads where it is used."""
    for name, part in module.named_children():
        if name in ROWS + COLUMNS and type(part) is not nn.Linear:  # of few bits, in eight bits, or with an adapter
            return name
    named = [name for name, _ in module.named_parameters()]
    return next((name for name in named if name.split(".")[0] not in (*ROWS, *COLUMNS, "bias")), None)


class TensorParallel(Several):
    """``tp``: every matrix of a block shared by all processes. See :class:`trainer.strategies.base.Strategy`."""

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        check(model, self.mesh.size())
        model = model if fill else alike(model.to(self.device))
        return super().setup(split(model, self.mesh), fill)


class ShardedTensorParallel(Sharded):
    """``fsdp_tp``: tensor parallelism within groups of processes, and each part divided again over the groups."""

    def owners(self) -> DeviceMesh:
        return self.mesh["shard"]

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        check(model, self.mesh["tp"].size())
        return super().setup(model, fill)

    def divide(self, model: nn.Module) -> nn.Module:
        return split(model, self.mesh["tp"])
