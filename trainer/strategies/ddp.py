"""A whole model on every process, a share of each batch for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainer.options import OptimOptions, StrategyOptions
from trainer.precision import Precision
from trainer.strategies import processes
from trainer.strategies.base import Fill
from trainer.strategies.buckets import Buckets
from trainer.strategies.single import Single


class Ddp(Single):
    """See :class:`trainer.strategies.base.Strategy`. Weights and optimizer are equal on all processes at all times."""

    def __init__(self, options: StrategyOptions, device: torch.device, precision: Precision):
        super().__init__(options, device, precision)
        processes.join()
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        super().setup(model, fill)
        for tensor in self.model.state_dict().values():  # of the first process: new weights are drawn on each
            distributed.broadcast(tensor, 0)
        return self.model

    def optimizer(self, options: OptimOptions) -> None:
        super().optimizer(options)
        self.buckets = Buckets(self.params)

    def shard_of_batch(self) -> tuple[int, int]:
        return self.rank, self.world

    def total(self, values: Tensor) -> Tensor:
        summed = values.to(torch.float64, copy=True)
        distributed.all_reduce(summed)
        return summed.to(values.dtype)

    def gather(self, value: Any) -> list[Any]:
        return processes.gather(value)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.buckets.armed = False
        try:
            yield
        finally:
            self.buckets.armed = True

    def reduce(self) -> None:
        self.buckets.finish()
