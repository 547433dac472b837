"""Deep models by shallow ones: the repeated blocks of a stack are alike, so what a step takes grows by the same with each."""

from collections.abc import Iterator, Mapping

from torch import nn

from trainer.strategies.blocks import blocks

BASE = 3  # blocks of a stack that are always computed: the first, the last and one between, which may each be different


def stacks(model: nn.Module) -> dict[str, nn.Module]:
    """The lists that hold the repeated blocks, by name."""
    names = dict.fromkeys(name.rpartition(".")[0] for name in blocks(model))
    return {name: model.get_submodule(name) for name in names}


def depths(model: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
    """(blocks in each stack, those that must be computed): few where all but the first have the same parameters."""
    whole = {name: len(stack) for name, stack in stacks(model).items()}
    return whole, {
        name: BASE if len(stack) > BASE + 1 and _alike(stack) else len(stack) for name, stack in stacks(model).items()
    }


def cut(model: nn.Module, wanted: Mapping[str, int]) -> nn.Module:
    """``model`` with so many blocks left of each stack."""
    for name, stack in stacks(model).items():
        del stack[wanted[name] :]
    return model


def points(whole: Mapping[str, int], least: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """The depths to compute: the least, and for each stack that is deeper one block more of it."""
    yield dict(least)
    for name in whole:
        if least[name] < whole[name]:
            yield {**least, name: least[name] + 1}


def _alike(stack: nn.Module) -> bool:
    """Whether all blocks but the first are of one class and have parameters of the same names, shapes and formats."""
    kinds = [
        (type(block), [(name, p.shape, p.dtype, p.requires_grad) for name, p in block.named_parameters()])
        for block in list(stack)[1:]
    ]
    return all(kind == kinds[0] for kind in kinds)
