"""Weights, gradients and optimizer state divided among processes: ``fsdp``, and ``hsdp`` with several replicas.

Zhao et al., 2023 (arXiv:2304.11277); Rajbhandari et al., 2019 (arXiv:1910.02054). On ``fully_shard``: the weights of a
block are gathered when it computes and given back afterwards, its gradients summed straight into parts.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from trainer import optim
from trainer.errors import OptionError
from trainer.options import StrategyOptions
from trainer.precision import DTYPES, Precision
from trainer.strategies.base import Fill
from trainer.strategies.blocks import blocks
from trainer.strategies.several import Several, alike

# Logits are views of a matrix product; nothing here or in the catalog writes into them.
warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")


class Sharded(Several):
    """See :class:`trainer.strategies.base.Strategy`. Optimizer and checkpoint see parameters as ``DTensor``."""

    lockstep = True

    def __init__(self, options: StrategyOptions, device: torch.device, precision: Precision):
        if options.offload and precision.scaler is not None:
            raise OptionError(
                "strategy.offload=true and precision.dtype=fp16: gradients in main memory cannot be scaled\n"
                "   choose precision.dtype=bf16, or strategy.offload=false"
            )
        super().__init__(options, device, precision)

    def owners(self) -> DeviceMesh:
        """The processes among which ``fully_shard`` divides; of two dimensions, the inner ones, for each of the outer."""
        return self.mesh

    def divide(self, model: nn.Module) -> nn.Module:
        """``model`` as another strategy divides it before its parts are divided here."""
        return model

    def roots(self, model: nn.Module) -> Sequence[nn.Module]:
        """The modules that a pass begins and ends with."""
        return [model]

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        home = torch.device("cpu") if self.options.offload else self.device  # of weights between uses
        if fill is None:
            model = alike(model.to(self.device))  # replicas that began apart would stay apart
        model = self.divide(model)
        for block in blocks(model).values():
            if self.options.compile:
                block.compile()
            self.shard(block, self.options.reshard)
        for root in self.roots(model):
            self.shard(root, False)  # what it holds besides is needed from the first step of a pass to the last
        if fill is not None:
            fill(model, home)
            for module in model.modules():  # only weights wait in main memory
                for name, buffer in module.named_buffers(recurse=False):
                    module._buffers[name] = buffer.to(self.device)
        self.model = model
        return model

    def shard(self, module: nn.Module, reshard: bool) -> None:
        """Divide the parameters of ``module`` that are not divided yet; ``reshard``: also between forward and backward."""
        gathered = DTYPES.get(self.precision.dtype)  # autocast computes in it; casting first halves the traffic
        added = self.precision.reduce or (torch.float32 if gathered else None)
        policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=added, cast_forward_inputs=False)
        offload = CPUOffloadPolicy(pin_memory=self.device.type == "cuda") if self.options.offload else OffloadPolicy()
        fully_shard(module, mesh=self.owners(), mp_policy=policy, offload_policy=offload, reshard_after_forward=reshard)
        module.set_gradient_divide_factor(1.0)  # of this module alone: gradients are shares of one sum
        module.set_force_sum_reduction_for_comms(True)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Replicas are summed once a step. Within one, parts of gradients are summed at each pass: whole ones would not fit,
        unless ``reshard=false`` says that memory is there."""
        postpone = self.model.set_requires_all_reduce if self.options.reshard else self.model.set_requires_gradient_sync
        postpone(False)
        try:
            yield
        finally:
            postpone(True)

    def update(self, lr: float, skip: Tensor) -> None:
        optim.update(self.optim, lr, skip.to(self.params[0].device), self.precision.scaler)
