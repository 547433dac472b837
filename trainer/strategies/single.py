"""One process on one device."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from trainer import optim
from trainer.options import OptimOptions, StrategyOptions
from trainer.precision import Precision
from trainer.strategies import state
from trainer.strategies.base import Fill
from trainer.strategies.blocks import blocks
from trainer.strategies.state import Saved


class Single:
    """See :class:`trainer.strategies.base.Strategy`."""

    rank, world, lockstep, ends = 0, 1, False, True

    def __init__(self, options: StrategyOptions, device: torch.device, precision: Precision):
        self.options, self.device, self.precision = options, device, precision

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        if fill is not None:
            fill(model, self.device)
        self.model = model.to(self.device)
        if self.options.compile:
            for block in blocks(self.model).values():
                block.compile()
        return self.model

    def optimizer(self, options: OptimOptions) -> None:
        self.params = [p for p in self.model.parameters() if p.requires_grad]
        self.optim = optim.build(self.model, options)

    def shard_of_batch(self) -> tuple[int, int]:
        return 0, 1

    def total(self, values: Tensor) -> Tensor:
        return values

    def votes(self, values: Tensor) -> Tensor:
        return values

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def forward(self, call: Callable[[nn.Module], Any]) -> Any:
        return call(self.model)

    def accumulate(self, count: int, loss: Callable[[nn.Module, int], Tensor]) -> list[Tensor]:
        losses = []
        for i in range(count):
            with nullcontext() if i == count - 1 else self.no_sync():
                part = loss(self.model, i)
                self.backward(part)
            losses.append(part.detach())
        return losses

    def no_sync(self) -> AbstractContextManager:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        scaler = self.precision.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()

    def reduce(self) -> None:
        pass

    def clip(self, max_norm: float | None) -> Tensor:
        if self.precision.scaler is not None:
            self.precision.scaler.unscale_(self.optim)
        norm = get_total_norm([p.grad for p in self.params if p.grad is not None])
        if max_norm is not None:
            clip_grads_with_norm_(self.params, max_norm, norm)
        return norm

    def update(self, lr: float, skip: Tensor) -> None:
        optim.update(self.optim, lr, skip, self.precision.scaler)

    def state(self) -> dict[str, Any]:
        return state.state(self.model, self.optim, self.precision.scaler)

    def load(self, saved: Saved, *, model_only: bool = False) -> None:
        state.load(saved, self.model, *(() if model_only else (self.optim, self.precision.scaler)))
