"""What an optimizer step does, read from its operations: bytes held, computed, moved and sent."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

_aten = torch.ops.aten
ATTENTION = {  # the kernels of a CPU, and where the place of ``is_causal`` is; they count as those of a GPU
    _aten._scaled_dot_product_flash_attention_for_cpu: (_aten._scaled_dot_product_flash_attention, 4),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        _aten._scaled_dot_product_flash_attention_backward, 7,
    ),
}  # fmt: skip
KINDS = {  # operation: what it is called, and what share of the largest tensor a process of n sends
    "allreduce_": ("all-reduce", lambda n: 2 * (n - 1) / n),
    "allgather_": ("all-gather", lambda n: (n - 1) / n),
    "_allgather_base_": ("all-gather", lambda n: (n - 1) / n),
    "reduce_scatter_": ("reduce-scatter", lambda n: (n - 1) / n),
    "_reduce_scatter_base_": ("reduce-scatter", lambda n: (n - 1) / n),
    "alltoall_base_": ("all-to-all", lambda n: (n - 1) / n),
    "broadcast_": ("broadcast", lambda n: 1.0),
}

Key = tuple[str, tuple[int, ...]]  # kind of a collective, and the processes that do it


@dataclass
class Seen:
    """Figures of one step; additive ones by phase or kind, peaks by part of the step.

    flops    (phase, format of the matrices) -> floating point operations of matrix products
    moved    phase -> bytes that all other operations read and write
    sent     (kind, processes) -> bytes that this process sends; ``calls`` how often
    peaks    part -> most bytes held in it
    """

    flops: Counter = field(default_factory=Counter)
    moved: Counter = field(default_factory=Counter)
    sent: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    peaks: dict[Any, int] = field(default_factory=dict)


class Watch(TorchDispatchMode):
    """Reads every operation below it into ``seen``; tensors made outside are counted with :meth:`hold`."""

    def __init__(self):
        super().__init__()
        self.seen = Seen()
        self.part: Any = "setup"
        self._held = WeakIdKeyDictionary()

    @property
    def phase(self) -> str:
        """Forward or backward, as autograd says."""
        return "forward" if torch._C._current_graph_task_id() == -1 else "backward"

    def held(self) -> int:
        """Bytes held now."""
        return sum(storage.nbytes() for storage in self._held)

    def hold(self, tensors: Any) -> None:
        """Count these from now on."""
        for tensor in tensors:
            self._held.setdefault(tensor.untyped_storage(), None)

    def enter(self, part: Any) -> None:
        """What follows is ``part`` of the step."""
        self.part = part
        self.seen.peaks[part] = max(self.held(), self.seen.peaks.get(part, 0))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """``func`` as ever."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        made = [t for t in tree_iter(out) if isinstance(t, Tensor)]
        given = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
        if func.namespace == "c10d":
            self._sent(func, args, given)
            return out
        before = {id(t.untyped_storage()) for t in given}
        new = [t for t in made if id(t.untyped_storage()) not in before]
        if new or func._schema.is_mutable:
            self._computed(func, args, kwargs, out, given, made)
        if new:
            self.hold(new)
            self.seen.peaks[self.part] = max(self.seen.peaks.get(self.part, 0), self.held())
        return out

    def _computed(self, func, args, kwargs, out, given, made) -> None:
        packet = func.overloadpacket
        counted, causal = ATTENTION.get(packet, (packet, None))
        if counted in flop_registry:
            flops = flop_registry[counted](*args, **(kwargs if causal is None else {}), out_val=out)
            if causal is not None and len(args) > causal and args[causal]:
                flops //= 2  # the half above the diagonal is skipped
            self.seen.flops[self.phase, str(made[0].dtype).removeprefix("torch.")] += flops
        else:
            self.seen.moved[self.phase] += sum(t.nbytes for t in (*given, *made))

    def _sent(self, func: Any, args: Any, given: list[Tensor]) -> None:
        name = func._schema.name.removeprefix("c10d::")
        if name not in KINDS:
            return
        kind, share = KINDS[name]
        group = next(
            ProcessGroup.unbox(a) for a in tree_iter(args) if isinstance(a, torch.ScriptObject) and _is_group(a)
        )
        ranks = tuple(distributed.get_process_group_ranks(group))
        size = max(_size(arg) for arg in args if isinstance(arg, Tensor | list))
        self.seen.sent[kind, ranks] += math.ceil(size * share(len(ranks)))
        self.seen.calls[kind, ranks] += 1


def _is_group(value: torch.ScriptObject) -> bool:
    return "ProcessGroup" in str(value._type())


def _size(arg: Any) -> int:
    """Bytes of a tensor, or of all those of a list."""
    return sum(t.nbytes for t in tree_iter(arg) if isinstance(t, Tensor))
