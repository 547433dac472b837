"""What strategies of several processes have in common: who computes which share of a batch, and sums over shares."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainer.options import StrategyOptions
from trainer.precision import Precision
from trainer.strategies import mesh, norms, processes
from trainer.strategies.single import Single


class Several(Single):
    """See :class:`trainer.strategies.base.Strategy`. ``mesh`` is that of :mod:`trainer.strategies.mesh`.

    A share of each batch goes to every process, unless the mesh divides some otherwise: those of one ``tp``, ``cp`` or
    ``pp`` group compute the same share.
    """

    together = (
        "replicas",
        "data",
        "shard",
    )  # the dimensions of the mesh along which processes have shares of their own

    def __init__(self, options: StrategyOptions, device: torch.device, precision: Precision):
        super().__init__(options, device, precision)
        processes.join()
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self.mesh = mesh.make(options, device.type)
        self.index, self.of = 0, 1
        for name in self.mesh.mesh_dim_names:
            if name in self.together:
                size = self.mesh[name].size()
                self.index, self.of = self.index * size + self.mesh.get_local_rank(name), self.of * size

    def shard_of_batch(self) -> tuple[int, int]:
        return self.index, self.of

    def total(self, values: Tensor) -> Tensor:
        summed = self.votes(values.to(torch.float64))
        return (summed / (self.world // self.of)).to(values.dtype)  # processes of one share say the same

    def votes(self, values: Tensor) -> Tensor:
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    def gather(self, value: Any) -> list[Any]:
        return processes.gather(value)

    def clip(self, max_norm: float | None) -> Tensor:
        if self.precision.scaler is not None:
            self.precision.scaler.unscale_(self.optim)
        grads = [p.grad for p in self.params if p.grad is not None]
        norm = norms.total_norm(grads)
        if max_norm is not None:
            norms.cut(grads, norm, max_norm)
        return norm.to(self.device)


def alike(model: nn.Module) -> nn.Module:
    """``model``, whole on each process, with the values it has on the first: new weights are drawn on each."""
    for tensor in model.state_dict().values():
        distributed.broadcast(tensor, 0)
    return model
