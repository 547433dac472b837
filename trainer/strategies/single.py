"""One process on one device."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from trainer import optim
from trainer.errors import DataError
from trainer.options import OptimOptions
from trainer.precision import Precision


class Single:
    """See :class:`trainer.strategies.base.Strategy`."""

    rank, world = 0, 1

    def __init__(self, device: torch.device, precision: Precision):
        self.device, self.precision = device, precision

    def setup(self, model: nn.Module) -> nn.Module:
        self.model = model.to(self.device)
        return self.model

    def optimizer(self, options: OptimOptions) -> None:
        self.params = [p for p in self.model.parameters() if p.requires_grad]
        self.optim = optim.build(self.model, options)

    def shard_of_batch(self) -> tuple[int, int]:
        return 0, 1

    def total(self, values: Tensor) -> Tensor:
        return values

    def gather(self, value: Any) -> list[Any]:
        return [value]

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
        for group in self.optim.param_groups:
            group["lr"] = lr
        if (scaler := self.precision.scaler) is not None:
            scaler.step(self.optim)  # skips by itself on the infinities that unscale_ found
            scaler.update()
        elif self.optim.defaults["fused"]:
            self.optim.grad_scale, self.optim.found_inf = None, skip  # the kernel reads it: no wait for the device
            self.optim.step()
        elif not skip:
            self.optim.step()
        self.optim.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        scaler = self.precision.scaler
        return {
            "model": _tensors(self.model),
            "optimizer": optim.state(self.optim, self.model),
            "scaler": {} if scaler is None else scaler.state_dict(),
        }

    def load(self, state: dict[str, Any], *, model_only: bool = False) -> None:
        _fill(self.model, state["model"])
        if model_only:
            return
        try:
            optim.load(self.optim, self.model, state["optimizer"])
        except ValueError as e:
            raise DataError(f"the checkpoint is not of this model: {e}") from None
        if self.precision.scaler is not None and state["scaler"]:
            self.precision.scaler.load_state_dict(state["scaler"])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tied one stands there once."""
    aliases = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    aliases -= {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in aliases}


def _fill(model: nn.Module, saved: dict[str, Tensor]) -> None:
    here = _tensors(model)
    problems = [f"missing     {name}" for name in here.keys() - saved.keys()]
    problems += [f"unexpected  {name}" for name in saved.keys() - here.keys()]
    problems += [
        f"shape       {name}: checkpoint {list(saved[name].shape)}, model {list(here[name].shape)}"
        for name in here.keys() & saved.keys()
        if here[name].shape != saved[name].shape
    ]
    if problems:
        raise DataError(
            f"the checkpoint is not of this model, {len(problems)} tensors differ:\n  "
            + "\n  ".join(sorted(problems))
            + "\nnothing was loaded; resume with the configuration the run was started with (config.yaml in its folder)"
        )
    with torch.no_grad():
        for name, tensor in here.items():
            tensor.copy_(saved[name])
