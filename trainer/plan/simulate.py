"""One optimizer step of the engine on tensors without memory, and what it took; deep models by two depths of each stack."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_iter

from trainer import formats, memory
from trainer.errors import DataError
from trainer.options import PrecisionOptions
from trainer.plan import depth
from trainer.plan.pretend import Known
from trainer.plan.watch import Seen, Watch
from trainer.precision import Precision
from trainer.step import Size, Stepper, size_of
from trainer.strategies import base as strategies
from trainer.strategies.blocks import blocks
from trainer.task import Feed, Task


@dataclass
class Figures:
    """What a process holds and does in one optimizer step.

    states    weights, frozen, gradients, optimizer -> format -> bytes, as ``trainer.formats`` measures them in a run
    seen      see :class:`trainer.plan.watch.Seen`
    kept      bytes that the forward pass leaves for the backward pass: activations, and weights not given back
    size      what the largest micro batch holds of this process's share, of so many ``shares``
    exact     whether all blocks were computed
    """

    states: dict[str, Counter]
    seen: Seen
    kept: int
    size: Size
    shares: int
    exact: bool = True

    @property
    def peak(self) -> int:
        """Most bytes held during a step: what the passes need, and beside it the optimizer's state, there from the second."""
        return max(self.seen.peaks.values()) + self.bytes("optimizer")

    def bytes(self, *states: str) -> int:
        """What these states take."""
        return sum(sum(self.states.get(what, {}).values()) for what in states)


def simulate(model: nn.Module, task: Task, feed: Feed, options: Any) -> Figures:
    """The figures of one optimizer step of this process.

    ``model`` is on ``meta`` and stays as it is; ``options`` are those of :class:`trainer.loop.Trainer`. Processes must have
    been joined or pretended. Stacks of like blocks are computed with few blocks and one more, and the rest is extrapolated;
    so are micro batches beyond the second. Raises whatever the strategy refuses.
    """
    micros = options.batch.accumulate
    found = _deep(model, task, feed, options, min(micros, 2))
    if micros <= 2:
        return found
    return _plus(found, found, _deep(model, task, feed, options, 1), micros - 2, peaks=False)


def _deep(model: nn.Module, task: Task, feed: Feed, options: Any, micros: int) -> Figures:
    """The figures of a step with so many micro batches, by as few blocks as will do."""
    whole, least = depth.depths(model)
    first, *others = [
        (wanted, one(depth.cut(deepcopy(model), wanted), task, feed, options, micros))
        for wanted in depth.points(whole, least)
    ]
    found = first[1]
    for wanted, other in others:
        name = next(name for name in wanted if wanted[name] != least[name])
        found = _plus(found, other, first[1], whole[name] - least[name])
    return replace(found, exact=not others)


def one(model: nn.Module, task: Task, feed: Feed, options: Any, micros: int) -> Figures:
    """The figures of a step of exactly this model with so many micro batches."""
    device, held = torch.device("cpu"), []
    strategy = strategies.build(replace(options.strategy, compile=False), device, _precision(options.precision, device))
    memory.recompute(strategy.precision.convert(model), options.memory.activations)
    fake, watch = FakeTensorMode(allow_non_fake_inputs=True), Watch()

    def fill(model: nn.Module, device: torch.device) -> None:
        tied = [(owner, name, p) for owner in model.modules() for name, p in owner.named_parameters(recurse=False)]
        with fake, watch:
            model.to_empty(device=device)
        first: dict[nn.Parameter, nn.Parameter] = {}
        for owner, name, p in tied:  # one parameter in several places is one again
            owner._parameters[name] = first.setdefault(p, owner._parameters[name])
        model.to = lambda device: model  # it is there already, and PyTorch refuses to exchange tensors without memory

    def backward(loss: Tensor, inner: Callable[[Tensor], None] = strategy.backward) -> None:
        held.append(watch.held())
        inner(loss)

    model = strategy.setup(model, fill)
    strategy.backward = backward
    model.train()
    stepper = Stepper(model, task, strategy, options.train.clip, feed)
    strategy.optimizer(options.optim)
    index, shares = strategy.shard_of_batch()
    feed.share(index, shares)
    if (batch := feed.worst()) is None:
        raise DataError("the training data has no rows to plan with")
    _parts(model, watch)
    watch.seen, before = Seen(), watch.held()
    with fake, Known(), watch:
        watch.enter("begin")
        stepper.gradients([batch] * micros)
        watch.enter("end")
        strategy.clip(options.train.clip)
        seen = watch.seen
        watch.seen = Seen()  # an update in place needs nothing more; what dividing its tensors looks up is no memory
        with formats.watched(model) as states:
            strategy.update(options.optim.lr, torch.zeros(()))
    return Figures(
        {what: Counter(found) for what, found in states.items()}, seen, held[0] - before, size_of(batch), shares
    )


def _parts(model: nn.Module, watch: Watch) -> None:
    """Let ``watch`` know which block computes: the first of its stack, the last, or one between."""
    lists: dict[str, list[nn.Module]] = {}
    for name, block in blocks(model).items():
        lists.setdefault(name.rpartition(".")[0], []).append(block)
    for stack, members in lists.items():
        for i, block in enumerate(members):
            place = stack, "first" if i == 0 else "last" if i == len(members) - 1 else "inner"
            block.register_forward_pre_hook(lambda module, args, place=place: watch.enter(("forward", *place)))
            block.register_forward_hook(lambda module, args, out, place=place: _behind(watch, out, place))


def _behind(watch: Watch, out: Any, place: tuple[str, str]) -> None:
    watch.enter(("behind", *place))
    given = next((t for t in tree_iter(out) if isinstance(t, Tensor) and t.requires_grad), None)
    if given is not None:
        given.register_hook(lambda grad: watch.enter(("backward", *place)))


def _precision(options: PrecisionOptions, device: torch.device) -> Precision:
    """The formats of the run as far as bytes go, on a device that need not have them: fp16 and fp8 as bf16."""
    like = "bf16" if options.dtype in ("fp16", "fp8") else options.dtype
    return Precision(like, device, options.reduce)


def _plus(to: Figures, more: Figures, less: Figures, times: int, peaks: bool = True) -> Figures:
    """``to + times * (more - less)``, figure by figure; ``peaks``: of what is held too."""

    def line(name: str) -> Counter:
        a, b, c = (getattr(figures.seen, name) for figures in (to, more, less))
        return Counter({key: a[key] + times * (b[key] - c[key]) for key in a.keys() | b.keys()})

    seen = Seen(**{name: line(name) for name in ("flops", "moved", "sent", "calls")}, peaks=to.seen.peaks)
    if not peaks:
        return replace(to, seen=seen)
    seen.peaks = {key: n + times * (more.seen.peaks[key] - less.seen.peaks[key]) for key, n in to.seen.peaks.items()}
    states = {
        what: Counter({key: n + times * (more.states[what][key] - less.states[what][key]) for key, n in kinds.items()})
        for what, kinds in to.states.items()
    }
    return replace(to, states=states, seen=seen, kept=to.kept + times * (more.kept - less.kept))
