"""A model cut into stages at its repeated blocks, no word of its page changed.

What stands before the stack (embeddings) is of the first stage, what stands behind it (last norm, pooler, head) of the last;
the blocks are cut so that the stage with most parameters has as few as can be. A stage computes in a twin of the model: a copy
of those modules that only hold others, in which parts of other stages are stand-ins. The stage's forward pass is then that of
the page itself, masks and positions included, on the batch that every process has:

- a part before the stack is computed on ``meta``: it tells the shape of what comes in, and costs nothing;
- the block before the stage's first gives what came from the stage before, earlier ones nothing of their own;
- the block behind its last ends the pass: the states leave it as an exception, and what would follow never runs.

Nothing of another stage can be taken for a number: what is computed from it lies on ``meta``, and is refused where it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy, deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from trainer.errors import OptionError
from trainer.strategies.blocks import blocks

BEHIND = ("norm",)  # of a backbone: behind its blocks wherever it is registered

Loss = Callable[[nn.Module, int], Any]  # what a stage runs: (the stage's twin of the model, which micro batch)


def title(model: nn.Module) -> str:
    """What messages call ``model``."""
    return getattr(model, "name", type(model).__name__)


def cut(model: nn.Module, stages: int) -> dict[str, int]:
    """The stage of every block and of every part beside them that has parameters, by name.

    Raises :class:`OptionError` for a model that is not one stack of at least ``stages`` blocks.
    """
    names = list(blocks(model))
    _check(model, names, stages)
    holders, order = _holders(names), [name for name, _ in model.named_modules()]
    beside = [
        name for name, module in model.named_modules()
        if name and name.rpartition(".")[0] in holders and name not in holders and name not in names
        and any(True for _ in module.parameters())
    ]  # fmt: skip
    first = {
        name for name in beside
        if order.index(name) < order.index(names[0]) and name.rpartition(".")[2] not in BEHIND
    }  # fmt: skip
    sizes = [sum(p.numel() for p in model.get_submodule(name).parameters()) for name in names]
    ends = [sum(p.numel() for name in part for p in model.get_submodule(name).parameters())
            for part in (first, set(beside) - first)]  # fmt: skip
    sizes[0], sizes[-1] = sizes[0] + ends[0], sizes[-1] + ends[1]
    owners = {name: 0 if name in first else stages - 1 for name in beside}
    return owners | dict(zip(names, spread(sizes, stages)))


def _holders(names: Sequence[str]) -> set[str]:
    """The modules that blocks are inside of, the model itself as an empty name."""
    return {
        name.rsplit(".", n)[0] if n <= name.count(".") else "" for name in names for n in range(1, name.count(".") + 2)
    }


def _check(model: nn.Module, names: Sequence[str], stages: int) -> None:
    stacks = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    elsewhere = "\n   choose strategy=fsdp for this model"
    if len(stacks) != 1:
        found = f"{len(stacks)}: {', '.join(stacks)}" if stacks else "none"
        raise OptionError(f"a pipeline is cut at one stack of blocks, {title(model)} has {found}{elsewhere}")
    if len(names) < stages:
        raise OptionError(
            f"{stages} stages and {len(names)} blocks: a stage of {title(model)} has at least one; "
            f"legal: pp times chunks up to {len(names)}\n   start fewer processes, or choose strategy=fsdp"
        )
    for holder in _holders(names):
        module = model.get_submodule(holder)
        if own := [f"{holder}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]:
            raise OptionError(f"a pipeline cannot tell which stage {', '.join(own)} of {title(model)} is of{elsewhere}")
        if getattr(module, "skip", 0.0):
            raise OptionError(f"{holder} of {title(model)} skips blocks at random, a stage cannot{elsewhere}")


def spread(sizes: Sequence[int], stages: int) -> list[int]:
    """The stage of each block: runs of at least one, so that the largest sum of ``sizes`` in a stage is as small as can be."""
    upto = [0]
    for size in sizes:
        upto.append(upto[-1] + size)
    best = [
        [(upto[i], 0) for i in range(len(upto))]
    ]  # of the first i blocks in one stage: its sum, and where it begins
    for s in range(1, stages):
        row = [(0, 0)] * len(upto)
        for i in range(s + 1, len(upto)):
            row[i] = min((max(best[-1][j][0], upto[i] - upto[j]), j) for j in range(s, i))
        best.append(row)
    found, end = [0] * len(sizes), len(sizes)
    for s in range(stages - 1, -1, -1):
        begin = best[s][end][1]
        found[begin:end] = [s] * (end - begin)
        end = begin
    return found


class Left(Exception):
    """The states of a stage on their way out of a forward pass that another stage goes on with."""

    def __init__(self, states: Tensor):
        super().__init__("a forward pass ended where the next stage of the pipeline begins")
        self.states = states


class Beyond(nn.Module):
    """In place of a block before the stage's neighbour: x as it is."""

    def forward(self, x: Tensor, *memory: Tensor, **context: Any) -> Tensor:
        """x, on ``meta``."""
        return x


class Entry(nn.Module):
    """In place of the block before the stage's first: what that block made, once a pass. ``source`` is told x, on ``meta``."""

    source: Callable[[Tensor], Tensor] | None = None

    def forward(self, x: Tensor, *memory: Tensor, **context: Any) -> Tensor:
        """The states that came in."""
        _real(context, memory)
        if self.source is None:
            raise OptionError(
                "a pipeline computes one forward pass at a time: generating text needs strategy=fsdp or ddp"
            )
        source, self.source = self.source, None
        return source(x)


class Exit(nn.Module):
    """In place of the block behind the stage's last."""

    def forward(self, x: Tensor, *memory: Tensor, **context: Any) -> Tensor:
        """Raises :class:`Left`."""
        _real(context, memory, x)
        raise Left(x)


class Elsewhere(nn.Module):
    """In place of a part that is not a block: sizes and modules are as there, but it computes on ``meta``."""

    def __init__(self, module: nn.Module):
        super().__init__()
        own = {id(t): t.detach().to("meta") for t in module.buffers()}
        own |= {id(p): nn.Parameter(p.detach().to("meta"), requires_grad=False) for p in module.parameters()}
        self.__dict__["shadow"] = deepcopy(module, own)  # no child: it has no weights to train or to save

    def __getattr__(self, name: str) -> Any:
        if name in self._parameters or name in self._modules:
            return super().__getattr__(name)
        return getattr(self.__dict__["shadow"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the part returns, on ``meta``."""
        args, kwargs = tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, (args, kwargs))
        with torch.no_grad():
            return self.shadow(*args, **kwargs)


def _real(*values: Any) -> None:
    if any(isinstance(x, Tensor) and x.is_meta for x in tree_leaves(values)):
        raise OptionError(
            "a stage of the pipeline needs what only another one has the weights of: its blocks are given more than states, "
            "masks and positions\n   choose strategy=fsdp for this model"
        )


class Slice(nn.Module):
    """One stage of ``model``, by ``owners`` of :func:`cut`: its ``parts``, and the twin of the model in which they compute.

    States travel as ``wire``, flat, in buffers of one size a step: micro batches may differ in their shapes.
    """

    def __init__(self, model: nn.Module, owners: dict[str, int], stage: int, wire: torch.dtype):
        super().__init__()
        its = [name for name, owner in owners.items() if owner == stage]
        self.parts = nn.ModuleList(model.get_submodule(name) for name in its)
        self.stage, self.last, self.wire = stage, stage == max(owners.values()), wire
        names = list(blocks(model))
        mine = [i for i, name in enumerate(names) if owners[name] == stage]
        gaps: dict[str, nn.Module] = {name: Beyond() for i, name in enumerate(names) if i not in mine}
        self.__dict__["entry"] = Entry() if mine[0] else None
        if self.entry is not None:
            gaps[names[mine[0] - 1]] = self.entry
        if not self.last:
            gaps[names[mine[-1] + 1]] = Exit()
        self.__dict__["holders"] = []
        self.__dict__["twin"] = self._twin(model, "", owners, gaps)

    def _twin(self, module: nn.Module, path: str, owners: dict[str, int], gaps: dict[str, nn.Module]) -> nn.Module:
        made, parts = copy(module), {}
        for name, child in module._modules.items():
            where = f"{path}.{name}" if path else name
            if where in gaps:
                parts[name] = gaps[where]
            elif owners.get(where, self.stage) != self.stage:
                parts[name] = Elsewhere(child)
            elif child is not None and any(other.startswith(f"{where}.") for other in owners):
                parts[name] = self._twin(child, where, owners, gaps)
            else:
                parts[name] = child
        made._modules = parts
        self.holders.append((made, module))
        return made

    def begin(self, call: Loss, capacity: int | None) -> None:
        """From now on each forward pass is one micro batch of ``call``, from 0 on; states leave padded to ``capacity``."""
        self.call, self.capacity, self.next = call, capacity, 0

    def size(self, call: Loss, index: int) -> int:
        """Numbers in the states that come into this stage in a micro batch; nothing of the stage is computed."""

        def look(x: Tensor) -> Tensor:
            raise Left(x)

        self.entry.source = look
        try:
            self._run(call, index)
        except Left as left:
            return left.states.numel()
        raise RuntimeError(f"the model's forward pass does not come to stage {self.stage}")

    def forward(self, flat: Tensor | None = None) -> Any:
        """States that came in, flat, or None where there are none or ``entry`` fetches them -> those that leave, or of the
        last stage what ``call`` returns."""
        if flat is not None:
            self.entry.source = lambda x: flat[: x.numel()].view_as(x)
        index, self.next = self.next, self.next + 1
        try:
            found = self._run(self.call, index)
        except Left as left:
            states = left.states.to(self.wire).contiguous()
            return states if self.capacity is None else F.pad(states.flatten(), (0, self.capacity - states.numel()))
        if not self.last:
            raise RuntimeError(f"the model's forward pass does not leave stage {self.stage}")
        _real(found)
        return found

    def _run(self, call: Loss, index: int) -> Any:
        for made, module in self.holders:
            made.training = module.training
        return call(self.twin, index)


def shared(model: nn.Module, owners: dict[str, int]) -> dict[str, list[int]]:
    """The stages of every parameter that several have, by its name: tied weights."""
    found: dict[nn.Parameter, set[int]] = {}
    for name, stage in owners.items():
        for p in model.get_submodule(name).parameters():
            found.setdefault(p, set()).add(stage)
    return {name: sorted(found[p]) for name, p in model.named_parameters() if len(found[p]) > 1}


def strip(model: nn.Module, owners: dict[str, int], slices: Sequence[Slice]) -> None:
    """Leave in ``model`` only what ``slices`` have, all under its name; to be called when they are made."""
    stages, stack = {part.stage for part in slices}, blocks(model)
    for name, stage in owners.items():
        if stage in stages:
            continue
        gone = model.get_submodule(name)
        absent = Beyond() if name in stack else Elsewhere(gone)
        for part, path, p in _tied(slices, gone):
            _hold(absent, path, p)
            if absent not in list(part.parts):
                part.parts.append(absent)  # where weights are divided, under all their names
        parent, _, word = name.rpartition(".")
        model.get_submodule(parent)._modules[word] = absent


def _hold(module: nn.Module, path: str, p: nn.Parameter) -> None:
    """Keep a tied weight under the name that it has in the whole model."""
    *way, name = path.split(".")
    for word in way:
        if word not in module._modules:
            module._modules[word] = nn.Module()
        module = module._modules[word]
    module._parameters[name] = p


def _tied(slices: Sequence[Slice], gone: nn.Module) -> Iterator[tuple[Slice, str, nn.Parameter]]:
    for part in slices:
        held = set(part.parts.parameters())
        for path, p in gone.named_parameters(remove_duplicate=False):
            if p in held:
                yield part, path, p
