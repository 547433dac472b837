"""Fresh weights one tensor at a time, in the order and with the values of :func:`catalog.layers.init.initialise`.

A model's rules go over its weights in an order of their own, some more than once, and expect them in memory. Here each
weight has memory from the moment a rule writes into it until the rule turns to another one.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from catalog.layers.init import initialise

_WRITES = {"normal_", "uniform_", "zero_", "fill_", "copy_"}  # ops that leave nothing of what was there


def draw(model: nn.Module, std: float, seed: int, put: Callable[[str, Tensor], None]) -> None:
    """Hand every fresh parameter and persistent buffer of ``model`` to ``put`` with its name, the last time as it starts.

    ``model`` is on the meta device and used up. Tied parameters come under their first name. Memory: one tensor.
    """
    names = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        held = owner._parameters if leaf in owner._parameters else owner._buffers
        if id(tensor) not in names:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype)
            empty.untyped_storage().resize_(0)
            names[id(tensor)] = name, nn.Parameter(empty) if held is owner._parameters else empty
        held[leaf] = names[id(tensor)][1]
    memory = _OneAtATime(dict(names.values()), put)
    with torch.random.fork_rng(devices=[]), memory:
        torch.manual_seed(seed)
        initialise(model, std)
    memory.leave()


class _OneAtATime(TorchDispatchMode):
    """Gives each of ``held`` its memory when an op is about to use it, and takes it away at the next one's turn."""

    def __init__(self, held: dict[str, Tensor], put: Callable[[str, Tensor], None]):
        super().__init__()
        self.held, self.put, self.now, self.given = held, put, None, set()
        self.names = {tensor.untyped_storage()._cdata: name for name, tensor in held.items()}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                name = self.names.get(tensor.untyped_storage()._cdata)
                if name not in (None, self.now):
                    self._enter(name, func, tensor is args[0])
        return func(*args, **(kwargs or {}))

    def _enter(self, name, func, first):
        if name in self.given and not (first and func._overloadpacket.__name__ in _WRITES):
            raise RuntimeError(f"the rule that starts {name} goes back to it with {func}; it must write it in one go")
        self.leave()
        tensor = self.held[name]
        tensor.untyped_storage().resize_(tensor.numel() * tensor.element_size())
        self.now = name

    def leave(self) -> None:
        """Hand over the tensor that was written last."""
        if self.now is None:
            return
        name, self.now = self.now, None
        self.given.add(name)
        with torch.utils._python_dispatch._disable_current_modes():
            self.put(name, self.held[name].detach())
            self.held[name].untyped_storage().resize_(0)
