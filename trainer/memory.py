"""Activations computed again in the backward pass instead of being kept (Chen et al., 2016, arXiv:1604.06174)."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from trainer.errors import OptionError
from trainer.strategies.blocks import blocks

_aten = torch.ops.aten
PRODUCTS = [  # dear to compute, cheap to keep: what ``selective`` does not compute twice
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.convolution.default,
    _aten._scaled_mm.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
]


def recompute(model: nn.Module, activations: str) -> None:
    """Make every block of ``model`` compute its activations again: ``full``, ``selective`` (all but ``PRODUCTS``) or ``none``.

    Loss and gradients stay the same to the bit: dropout draws again what it drew. Only forward methods are wrapped, so
    names of weights stay, and sharding or compiling a block afterwards finds it as it was. Raises :class:`OptionError`
    where a model has no blocks.
    """
    if activations == "none":
        return
    found = blocks(model)
    if not found:
        raise OptionError(
            f"memory.activations={activations}: {type(model).__name__} has no repeated blocks to compute again "
            "(modules named layers.N or blocks.N)\n   take memory.activations=none"
        )
    for block in found.values():
        block.forward = _again(block.forward, activations == "selective")


def _again(forward: Callable, selective: bool) -> Callable:
    contexts = {"context_fn": functools.partial(create_selective_checkpoint_contexts, PRODUCTS)} if selective else {}

    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **contexts, **kwargs)

    return run
