"""Pipeline parallelism: the blocks of a model in stages on different processes, micro batches passed from one to the next.

``pp``: a stage a process. ``pp_fsdp``: a group of processes a stage, which divide its weights as under ``fsdp``; each pipeline
has a share of the batch of its own. Only states travel: each of its processes has the batch, and the loss is that of any other
strategy, with counts of the whole batch. How a model is cut: :mod:`trainer.strategies.pipeline_stages`. What a stage computes
when is said by a schedule of PyTorch: ``gpipe`` (Huang et al., 2018, arXiv:1811.06965), ``1f1b`` (Narayanan et al., 2019,
arXiv:1806.03377) with fewer states kept, ``interleaved`` (Narayanan et al., 2021, arXiv:2104.04473) with several stages a
process.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import (
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleLoopedBFS,
)

from trainer.errors import OptionError
from trainer.options import OptimOptions, StrategyOptions
from trainer.precision import Precision
from trainer.strategies import draws, norms, state
from trainer.strategies.base import Fill
from trainer.strategies.blocks import blocks
from trainer.strategies.pipeline_stages import Slice, cut, shared, strip
from trainer.strategies.several import Several, alike
from trainer.strategies.sharded import Sharded


class Pipeline(Several):
    """``pp``: see the module's docstring and :class:`trainer.strategies.base.Strategy`.

    ``model`` has the blocks and parts of this process's stages alone; outputs and losses are with the last stage.
    """

    def __init__(self, options: StrategyOptions, device: torch.device, precision: Precision):
        if precision.scaler is not None:
            raise OptionError(
                f"strategy={options.name} and precision.dtype=fp16: stages would scale their gradients apart\n"
                "   choose precision.dtype=bf16"
            )
        super().__init__(options, device, precision)
        self.group = self.mesh["pp"].get_group()
        self.peers = distributed.get_process_group_ranks(self.group)
        self.place, self.depth = self.group.rank(), len(self.peers)
        chunks = options.chunks or (2 if options.schedule == "interleaved" else 1)
        self.stages = self.depth * chunks
        self.ends = self.place == self.depth - 1
        self.schedule, self.built = None, (0, 0)  # for so many micro batches, of at most so many numbers
        self.sent: list[distributed.Work] = []

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        return super().setup(self.divide(model if fill else alike(model)), fill)

    def divide(self, model: nn.Module) -> nn.Module:
        """``model`` with what this process's stages have, which are made here."""
        owners = cut(model, self.stages)
        self.tied = self._ties(shared(model, owners))
        self.wire = next(p.dtype for p in model.parameters() if p.is_floating_point())
        own = range(self.place, self.stages, self.depth)
        self.slices = [Slice(model, owners, stage, self.wire) for stage in own]
        for name, block in blocks(model).items():
            if owners[name] in own and owners[name] and draws.drops(block):
                draws.own(block, owners[name])
        strip(model, owners, self.slices)
        return model

    def optimizer(self, options: OptimOptions) -> None:
        super().optimizer(options)
        held = state.parameters(self.model)
        self.both = [(held[name], group) for name, (group, _) in self.tied.items() if held[name].requires_grad]
        self.again = {held[name] for name, (_, first) in self.tied.items() if not first}

    def total(self, values: Tensor) -> Tensor:
        wide = values.to(torch.float64)
        return self.votes(wide if self.ends else torch.zeros_like(wide)).to(values.dtype)

    def forward(self, call: Callable[[nn.Module], Any]) -> Any:
        found = None
        for part in self.slices:
            part.begin(lambda model, _: call(model), None)
            if part.entry is not None:
                part.entry.source = partial(self._receive, self.peers[(part.stage - 1) % self.depth])
            found = part()
            if not part.last:
                self._send(self.peers[(part.stage + 1) % self.depth], found)
        return found if self.ends else None

    def _receive(self, peer: int, like: Tensor) -> Tensor:
        states = torch.empty(like.shape, dtype=self.wire, device=self.device)
        distributed.recv(states, peer, self.group)
        return states

    def _send(self, peer: int, states: Tensor) -> None:
        for work in self.sent:
            work.wait()
        self.sent = [distributed.isend(states, peer, self.group)]
        self.leaving = states  # kept until it is gone

    def accumulate(self, count: int, loss: Callable[[nn.Module, int], Tensor]) -> list[Tensor]:
        self._prepare(count, self._widest(count, loss))
        for part in self.slices:
            part.begin(loss, self.built[1])
        losses: list[Tensor] = []
        self.schedule.step(target=torch.arange(count), losses=losses, return_outputs=False)
        return [part.detach() for part in losses]

    def _widest(self, count: int, loss: Callable[[nn.Module, int], Tensor]) -> int:
        """Numbers in the largest states of these micro batches, the same on each stage; the first does not know them."""
        part = self.slices[-1]
        with torch.no_grad():
            found = max(part.size(loss, i) for i in range(count)) if part.entry is not None else 1
        most = torch.tensor(found, device=self.device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX, self.group)
        return int(most)

    def _prepare(self, count: int, needed: int) -> None:
        """A schedule with buffers for ``count`` micro batches of ``needed`` numbers; the last one where it does."""
        if self.built[0] == count and needed <= self.built[1] <= 2 * needed:
            return
        flat = torch.empty(needed, dtype=self.wire, device="meta", requires_grad=True)
        made = [
            PipelineStage(
                part, part.stage, self.stages, self.device, input_args=(flat,) if part.stage else (),
                output_args=(flat[:1].sum() if part.last else flat.detach().requires_grad_(),), group=self.group,
            )
            for part in self.slices
        ]  # fmt: skip
        how = {"loss_fn": lambda loss, _: loss, "scale_grads": False}
        name, rounds = self.options.schedule or "1f1b", max(1, count // self.depth)
        if name == "interleaved" and count % rounds == 0:
            self.schedule = ScheduleInterleaved1F1B(made, count, **how)
        elif name == "1f1b" and count >= self.stages:
            self.schedule = Schedule1F1B(made[0], count, **how)
        elif len(made) == 1:  # too few micro batches for more than one way through
            self.schedule = ScheduleGPipe(made[0], count, **how)
        else:
            self.schedule = ScheduleLoopedBFS(made, count, **how)
        self.built = count, needed

    def reduce(self) -> None:
        for p, group in self.both:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            distributed.all_reduce(norms.local(p.grad), group=group)

    def clip(self, max_norm: float | None) -> Tensor:
        grads = [p.grad for p in self.params if p.grad is not None and p not in self.again]
        square = norms.total_norm(grads).to(self.device, torch.float64) ** 2
        distributed.all_reduce(square, group=self.group)
        norm = square.sqrt()
        if max_norm is not None:
            held = [p.grad for p in self.params if p.grad is not None]
            norms.cut(held, norm.to(norms.local(held[0]).device), max_norm)
        return norm

    def _ties(self, stages: dict[str, list[int]]) -> dict[str, tuple[ProcessGroup, bool]]:
        """For each tied weight of this process the group of those that have it, and whether it is the first of them.

        All processes make all groups, in one order: one for each way of sharing and each pipeline.
        """
        pipelines = self.mesh.mesh.reshape(self.depth, -1).T.tolist()
        found: dict[str, tuple[ProcessGroup, bool]] = {}
        made: dict[tuple[int, ...], ProcessGroup] = {}
        for name, its in stages.items():
            places = sorted({stage % self.depth for stage in its})
            for pipeline in pipelines if len(places) > 1 else ():
                ranks = tuple(pipeline[place] for place in places)
                if ranks not in made:
                    made[ranks] = distributed.new_group(list(ranks))
                if self.rank in ranks:
                    found[name] = made[ranks], self.rank == ranks[0]
        return found


class ShardedPipeline(Pipeline, Sharded):
    """``pp_fsdp``: the weights of a stage divided among the processes of its group."""

    def owners(self) -> DeviceMesh:
        return self.mesh["shard"]

    def roots(self, model: nn.Module) -> Sequence[nn.Module]:
        return self.slices

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        return Sharded.setup(self, model, fill)
