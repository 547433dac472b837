"""What the loop asks of a strategy. The loop itself never knows how many processes there are."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer.errors import DeviceError, OptionError
from trainer.options import OptimOptions, StrategyOptions
from trainer.precision import Precision
from trainer.strategies import mesh, processes
from trainer.strategies.state import Saved

# Gives every parameter and buffer of a model that was built without memory its own on the device, and its values. A
# parameter may be a DTensor by then: of that one only this process's part is filled.
Fill = Callable[[nn.Module, torch.device], None]


class Strategy(Protocol):
    """Places model and optimizer, and does the parts of a step in which processes must agree."""

    device: torch.device
    precision: Precision
    rank: int  # this process; 0 is the one that speaks and writes logs
    world: int  # of so many
    lockstep: bool  # each forward and backward pass is one of all processes: one without examples makes it all the same
    ends: bool  # this process holds the end of the model: it has outputs, and what it tells of its share counts

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        """The model on its device, wrapped or sharded; every later call is about this one.

        With ``fill`` the model comes without memory (on ``meta``); it is given some once it is wrapped and divided.
        """

    def optimizer(self, options: OptimOptions) -> None:
        """Build the optimizer over the parameters as they lie after ``setup``."""

    def shard_of_batch(self) -> tuple[int, int]:
        """(which share, of how many) of each global batch this process computes."""

    def total(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over all shares of the batch, the same everywhere."""

    def votes(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over all processes, the same everywhere."""

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, in their order, the same everywhere. Several may have the same share."""

    def forward(self, call: Callable[[nn.Module], Any]) -> Any:
        """What ``call`` makes of the model in one forward pass without gradients, where the process ``ends``; else ``None``."""

    def accumulate(self, count: int, loss: Callable[[nn.Module, int], Tensor]) -> list[Tensor]:
        """Forward and backward passes of a step: ``loss(model, i)`` is this share's part of the global loss in micro batch i
        of ``count``. Returns the parts, detached; none where the process does not ``end``."""

    def no_sync(self) -> AbstractContextManager:
        """The context of every backward pass of a step but the last: gradients are only added up."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this share of the global loss, so that shares sum to the gradient of the whole."""

    def reduce(self) -> None:
        """After the last backward pass of a step: every gradient is then the sum over all shares."""

    def clip(self, max_norm: float | None) -> Tensor:
        """Norm of the whole gradient (scalar, unscaled) before it is cut to ``max_norm``; ``None`` cuts nothing."""

    def update(self, lr: float, skip: Tensor) -> None:
        """One optimizer step at rate ``lr`` unless ``skip`` (scalar float, on the device) is 1; gradients are cleared."""

    def state(self) -> dict[str, Any]:
        """Everything that ``load`` needs to go on, on every process: ``model``, ``optimizer`` and ``scaler``, by the names
        of the model's parameters (:mod:`trainer.strategies.state`), so that a checkpoint fits any strategy."""

    def load(self, saved: Saved, *, model_only: bool = False) -> None:
        """Put back what was saved. Raises ``DataError`` listing every tensor that does not fit, before one is changed."""


CLASSES = {  # an option's name, its class; a name without one is not among the choices of StrategyOptions.name
    "single": "trainer.strategies.single.Single",
    "ddp": "trainer.strategies.ddp.Ddp",
    "fsdp": "trainer.strategies.sharded.Sharded",
    "hsdp": "trainer.strategies.sharded.Sharded",
    "tp": "trainer.strategies.tensor_parallel.TensorParallel",
    "fsdp_tp": "trainer.strategies.tensor_parallel.ShardedTensorParallel",
    "cp": "trainer.strategies.context_parallel.ContextParallel",
    "pp": "trainer.strategies.pipeline.Pipeline",
    "pp_fsdp": "trainer.strategies.pipeline.ShardedPipeline",
    "deepspeed_zero1": "trainer.strategies.zero.Zero",
    "deepspeed_zero2": "trainer.strategies.zero.Zero",
    "deepspeed_zero3": "trainer.strategies.zero.Zero",
}


def build(options: StrategyOptions, device: torch.device, precision: Precision) -> Strategy:
    """The strategy of that name. Raises ``OptionError`` where the number of processes does not fit it."""
    mesh.check(options)
    if options.name not in CLASSES:
        raise OptionError(f"no strategy '{options.name}'; there are {', '.join(CLASSES)}")
    module, _, name = CLASSES[options.name].rpartition(".")
    return getattr(import_module(module), name)(options, device, precision)


def pick_device(name: str | None = None) -> torch.device:
    """The device of that name, or the best one there is. Raises :class:`DeviceError` for one that is absent."""
    if name is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", processes.local_device()) if processes.world() > 1 else torch.device("cuda")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"no device '{name}' here: PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        )
    return device
