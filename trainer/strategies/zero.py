"""DeepSpeed's ZeRO: optimizer state divided among processes, gradients too, weights too (``deepspeed_zero1`` to ``3``).

Rajbhandari et al., 2019 (arXiv:1910.02054); offloaded: Ren et al., 2021 (arXiv:2101.06840). The engine is given what the loop
decides: which backward pass is the last of a step, the rate, what the gradient is cut to, and whether a step is made.

Checkpoints hold tensors by name, as under every strategy: any other strategy and any number of processes goes on from them.
DeepSpeed's own files are pickles of flat parts that fit one number of processes; none is written, none is read.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from trainer import optim
from trainer.errors import OptionError
from trainer.options import OptimOptions, StrategyOptions
from trainer.precision import Precision
from trainer.strategies import state, zero_config
from trainer.strategies.blocks import blocks
from trainer.strategies.ddp import Ddp
from trainer.strategies.state import Saved

# DeepSpeed calls torch's collectives by names that PyTorch 2.13 has given new ones.
warnings.filterwarnings("ignore", message="`torch.distributed.*_tensor` is deprecated", category=FutureWarning)

FORMATS = {torch.float32: "fp32", torch.bfloat16: "bf16", None: None}


class Zero(Ddp):
    """See :class:`trainer.strategies.base.Strategy`. Until there is an optimizer, each process has a whole model.

    Under stage 3 a block's matrices are gathered when it computes; biases, norms and what lies outside of the blocks
    (embeddings, heads) stay whole on each process, as tied weights and losses use them outside of their own module.
    """

    lockstep = True

    def __init__(self, options: StrategyOptions, device: torch.device, precision: Precision):
        zero_config.check(options, precision.dtype)
        self.stage, self.engine, self.complete = zero_config.STAGES[options.name], None, False
        super().__init__(options, device, precision)

    def optimizer(self, options: OptimOptions) -> None:
        self.params = [p for p in self.model.parameters() if p.requires_grad]
        document = zero_config.document(
            self.options, options, FORMATS[self.precision.reduce], pinned=self.device.type == "cuda"
        )
        if not self.params:
            raise OptionError("every parameter of the model is frozen: there is nothing to train")
        if wrong := sorted({str(p.dtype) for p in self.model.parameters() if p.dtype != torch.float32}):
            raise OptionError(
                f"strategy={self.options.name} keeps weights in float32, the model has {', '.join(wrong)}\n"
                "   load it as float32, or choose strategy=fsdp"
            )
        optim.check(options, self.params)
        self.deepspeed = _library(self.device)
        groups = optim.groups(self.model, options.decay)
        self.engine, *_ = self.deepspeed.initialize(
            model=self.model, model_parameters=groups, config=document, dist_init_required=False
        )
        self.zero = self.engine.optimizer
        if self.stage == 3:
            self._keep_whole()

    def _keep_whole(self) -> None:
        inside = {p for block in blocks(self.model).values() for p in block.parameters() if len(p.ds_shape) > 1}
        self.zero.persistent_parameters = whole = [p for p in self.model.parameters() if p not in inside]
        for p in whole:
            p.ds_persist = True
        self.zero.checkpoint_event_epilogue()  # gathers them

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Stages 2 and 3 sum parts of gradients at each pass: whole ones are not kept."""
        self.engine.set_gradient_accumulation_boundary(False)
        try:
            yield
        finally:
            self.engine.set_gradient_accumulation_boundary(True)

    def backward(self, loss: Tensor) -> None:
        if self.complete:  # gradients of a look at the largest batch, which nobody used
            self._discard()
        self.zero.clear_backward_seen_flag()  # what the engine's own forward and backward begin with
        loss.register_hook(lambda _: self.engine._backward_prologue())
        self.engine.backward(loss * self.world, scale_wrt_gas=False)  # DeepSpeed takes the mean over processes

    def reduce(self) -> None:
        self.complete = True

    def clip(self, max_norm: float | None) -> Tensor:
        if self.stage == 3:
            norms = torch.stack([torch.as_tensor(norm, device=self.device) for norm in self.zero._get_norm_groups()])
            norm = torch.where((norms < 0).any(), torch.inf, norms.norm())
        else:
            norm = torch.as_tensor(self.zero.scaled_global_norm(), device=self.device)
            norm = torch.where(norm < 0, torch.inf, norm)  # below zero: DeepSpeed's word for not finite
        self.zero.clip_grad = max_norm or 0.0  # cut when they are used
        return norm

    def update(self, lr: float, skip: Tensor) -> None:
        if skip:
            self._discard()
            return
        for group in self.zero.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        self.complete = False

    def _discard(self) -> None:
        """Forget the gradients, as DeepSpeed does where they overflow."""
        zero, self.complete = self.zero, False
        zero.zero_grad()
        if self.options.offload:
            zero.reset_cpu_buffers()
        zero.averaged_gradients = {}
        if self.stage < 3:
            zero.all_grad_tensors, zero.micro_step_id = {}, -1
            zero._offload_accumulated_param_ids = set()

    def state(self) -> dict[str, Any]:
        """Rows of each tensor, divided anew: one at a time is gathered, never a whole model."""
        held, entries = state.tensors(self.model), {}
        step, kinds = self._kept()
        if kinds:
            self._link()
        for name, p in state.parameters(self.model).items():
            if self.stage == 3:
                with self.deepspeed.zero.GatheredParameters([p]):
                    held[name] = self._rows(p.detach())
            if kinds and p.requires_grad:
                whole = {kind: self.deepspeed.utils.safe_get_full_optimizer_state(p, kind) for kind in kinds}
                entries[name] = {kind: self._rows(tensor) for kind, tensor in whole.items()}
                if step is not None:
                    entries[name]["step"] = torch.tensor(float(step))
        self._settle()
        return {"model": held, "optimizer": entries, "scaler": {}}

    def load(self, saved: Saved, *, model_only: bool = False) -> None:
        if self.engine is None:
            super().load(saved, model_only=model_only)
            return
        params, held = state.parameters(self.model), state.tensors(self.model)
        if self.stage == 3:
            held |= {name: self._room(p) for name, p in params.items()}
        trained = None if model_only else {name: self._room(p) for name, p in params.items() if p.requires_grad}
        entries = state.read(saved, held, trained, fused=True)
        if self.stage == 3:
            for name, p in params.items():
                whole = _whole(held[name])
                with self.deepspeed.zero.GatheredParameters([p], modifier_rank=0):
                    p.data.copy_(whole)
        self.zero.refresh_fp32_params()
        if not model_only:
            self._take(entries, params)
        self._settle()

    def _take(self, entries: Mapping[str, Mapping[str, Tensor]], params: Mapping[str, nn.Parameter]) -> None:
        """Put what was saved of each parameter into the optimizer's flat parts."""
        steps = {float(its["step"]) for its in entries.values() if "step" in its}
        if len(steps) > 1:
            raise OptionError(
                f"the checkpoint has parameters with {len(steps)} numbers of updates, and strategy={self.options.name} counts "
                "one for all\n   resume with strategy=fsdp"
            )
        # sorted: all processes gather in one order, and that of a set is each one's own
        kinds = sorted({kind for its in entries.values() for kind in its if kind != "step"})
        for flat in self._flat():
            self.zero.optimizer.state[flat] = {kind: torch.zeros_like(flat) for kind in kinds}
            for step in steps:
                self.zero.optimizer.state[flat]["step"] = torch.tensor(step, device=flat.device)
        self._link()
        for name, its in entries.items():
            for kind in (kind for kind in kinds if kind in its):
                self._put(params[name], kind, _whole(its[kind]))

    def _link(self) -> None:
        """Let each weight know its place in the optimizer's state; DeepSpeed does so when it has the first group's only."""
        if self.stage < 3:
            self.zero._hp_optimizer_states_linked = False
            self.zero._lazy_init_hp_params_optimizer_state()

    def _put(self, p: nn.Parameter, kind: str, whole: Tensor) -> None:
        if self.stage < 3:
            self.deepspeed.utils.safe_set_full_optimizer_state(p, whole, kind)
            return
        size = p.ds_tensor.numel()  # the last part may be longer than what is left for it
        padded = torch.nn.functional.pad(whole.flatten(), (0, size * self.world - whole.numel()))
        self.deepspeed.utils.safe_set_local_optimizer_state(p, padded[self.rank * size :][:size], kind)

    def _flat(self) -> list[Tensor]:
        """This process's parts of all weights, as the optimizer sees them."""
        return self.zero.fp32_partitioned_groups_flat if self.stage == 3 else self.zero.single_partition_of_fp32_groups

    def _kept(self) -> tuple[Tensor | None, list[str]]:
        """How many updates the optimizer made, if it counts them, and the names of what it keeps of each number."""
        flat = self._flat()[0]
        found = self.zero.optimizer.state.get(flat, {})
        return found.get("step"), [kind for kind, value in found.items() if getattr(value, "shape", None) == flat.shape]

    def _shape(self, p: nn.Parameter) -> torch.Size:
        return p.ds_shape if self.stage == 3 else p.shape

    def _room(self, p: nn.Parameter) -> Tensor:
        """For this process's rows of ``p``, without values."""
        return self._rows(torch.empty(self._shape(p), dtype=p.dtype, device="meta"))

    def _rows(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor that is the same on all."""
        if not whole.dim():
            return whole.clone()
        rows = distribute_tensor(whole, self.mesh, [Shard(0)], src_data_rank=None)
        return torch.empty_like(rows, device=self.device) if whole.is_meta else rows.clone()

    def _settle(self) -> None:
        """Weights that stay whole were put away like the others."""
        if self.stage == 3:
            self.zero.checkpoint_event_epilogue()


def _library(device: torch.device) -> ModuleType:
    """DeepSpeed, told of the device before it looks for one itself, and of what it would otherwise compile on the spot."""
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    if device.type == "cpu":  # nothing it could compile here is needed: gloo adds up, PyTorch has the optimizer
        deepspeed.ops.__compatible_ops__ = {}
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    return deepspeed


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
