"""The repeated blocks of a model, found by name: what is wrapped, compiled and recomputed one by one."""

import re

from torch import nn

_BLOCK = re.compile(r"(.*\.)?(layers|blocks)\.\d+")


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Every ``layers.N`` or ``blocks.N`` of a ``ModuleList`` or ``Sequential``, by its full name, in the model's order.

    An encoder-decoder, a pyramid of stages or two towers have several such stacks, and all of them are found. A block is
    never inside another one, and more than a single layer: it has parts, and parameters.
    """
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if not _BLOCK.fullmatch(name) or any(name.startswith(f"{outer}.") for outer in found):
            continue
        owner = model.get_submodule(name.rpartition(".")[0])
        if (
            isinstance(owner, nn.ModuleList | nn.Sequential)
            and any(module.children())
            and any(True for _ in module.parameters())
        ):
            found[name] = module
    return found
