"""The processes of a run, as torchrun (or ``accelerate launch``, or Slurm with the same variables) started them."""

import atexit
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer.errors import OptionError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

START = "torchrun --standalone --nproc-per-node 2 train.py ..."


def world() -> int:
    """How many processes were started together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_world() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world()))


def rank() -> int:
    """Which of them this is; 0 speaks and writes."""
    return int(os.environ.get("RANK", 0))


def check(name: str) -> None:
    """Raise :class:`OptionError` where strategy ``name`` and the number of processes do not fit; loads nothing."""
    if name == "single" and world() > 1:
        raise OptionError(
            f"strategy=single and {world()} processes: each would train a copy of its own and all would write the same "
            "files\n   add strategy=ddp, or start it without torchrun"
        )
    if name != "single" and "WORLD_SIZE" not in os.environ:
        raise OptionError(
            f"strategy={name} without processes: torchrun's RANK and WORLD_SIZE are not set\n"
            f"   start it as: {START}\n   or choose strategy=single"
        )


def join() -> None:
    """Join the other processes: gloo between CPUs, NCCL between GPUs. Does nothing where that was done before."""
    import torch
    from torch import distributed

    if distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_device())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(_leave)


def local_device() -> int:
    """The GPU of this process among those of its machine. Raises :class:`OptionError` where there are too few."""
    import torch

    number, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= count:
        raise OptionError(
            f"process {number} of this machine has no GPU of its own, there are {count}\n"
            f"   start at most {count} a machine: --nproc-per-node {count}"
        )
    return number


def gather(value: Any, group: "ProcessGroup | None" = None) -> list[Any]:
    """``value`` of every process, in their order; on one process a list of one. ``group``: over this one's connections."""
    if world() == 1:
        return [value]
    from torch import distributed

    values = [None] * world()
    distributed.all_gather_object(values, value, group)
    return values


def channel() -> Callable[[Any], list[Any]]:
    """A :func:`gather` of its own, which may go on in a thread beside the training loop; all processes ask for it together.

    On the group of the loop its messages would be taken for gradients.
    """
    if world() == 1:
        return gather
    from torch import distributed

    return partial(gather, group=distributed.new_group(backend="gloo"))


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
