"""Random numbers where processes share a model: alike outside what is divided, different inside.

Processes that compute one example together are seeded alike, so that dropout of what each of them holds whole is the same
on all. Where each holds a part (some heads, some tokens), the same numbers would drop the same places of every part; there
each process draws from a stream of its own, which follows from the common one. Nothing is kept beside the generator's
state: a checkpoint holds it already, and a block that is recomputed draws the same again.

A mask over a divided tensor is not the one that a single process would draw, so runs with such dropout agree with one
process in distribution only.
"""

import torch
from torch import nn

SPREAD = 0x9E3779B97F4A7C15 >> 2  # between the seeds of two processes; odd multiples of it meet no neighbour's seed


def drops(module: nn.Module) -> bool:
    """Whether anything inside draws random numbers in training."""
    inside = list(module.modules())
    return any(getattr(m, "dropout", 0.0) > 0 or (isinstance(m, nn.Dropout) and m.p > 0) for m in inside)


def own(module: nn.Module, part: int) -> None:
    """Let ``module`` draw from the stream of part number ``part`` whenever it computes in training."""
    before: list[tuple[torch.device, torch.Tensor, int]] = []

    def enter(module, args):
        if module.training:
            before.append(_leave_common(args[0].device, part))

    def leave(module, args, out):
        if module.training:
            _back(*before.pop())

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)


def _leave_common(device: torch.device, part: int) -> tuple[torch.device, torch.Tensor, int]:
    """Enter the stream of ``part``; what :func:`_back` needs."""
    if device.type != "cuda":
        seed = int(
            torch.randint(2**62, (), dtype=torch.int64)
        )  # the common stream moves on by one number, alike on all
        common = torch.get_rng_state()
        torch.default_generator.manual_seed(seed + part + 1)
        return device, common, 0
    state = torch.cuda.get_rng_state(device)  # seed and offset, two int64: kept by the host, no wait for the device
    seed = int(state.view(torch.int64)[0])
    state.view(torch.int64)[0] = (seed + (part + 1) * SPREAD) % 2**63
    torch.cuda.set_rng_state(state, device)
    return device, state, seed


def _back(device: torch.device, common: torch.Tensor, seed: int) -> None:
    """Back to the common stream. On a GPU it goes on behind what was drawn: as much on each process."""
    if device.type != "cuda":
        torch.set_rng_state(common)
        return
    state = torch.cuda.get_rng_state(device)
    state.view(torch.int64)[0] = seed
    torch.cuda.set_rng_state(state, device)
