"""Residual layouts: where the norms stand is a class, not a flag.

Every block takes built parts and the same context: ``mask`` (:mod:`catalog.layers.masks`), ``positions`` [1 or B, T],
``bias`` (float, added to the attention scores) and ``cache`` (:class:`catalog.layers.cache.LayerCache`). Blocks with
cross attention also take ``memory`` [B, S, memory_width] and ``memory_mask``. All map x [B, T, width] to the same shape.
"""

import torch
from torch import nn


class PreNorm(nn.Module):
    """x + attn(norm1(x)), then x + mlp(norm2(x)). Radford et al., 2019 (GPT-2)."""

    def __init__(self, *, attn, mlp, norm1, norm2, dropout=0.0):
        super().__init__()
        self.attn, self.mlp, self.norm1, self.norm2 = attn, mlp, norm1, norm2
        self.drop = nn.Dropout(dropout)

    def forward(self, x, *, mask=None, positions=None, bias=None, cache=None):
        x = x + self.drop(self.attn(self.norm1(x), mask=mask, positions=positions, bias=bias, cache=cache))
        return x + self.drop(self.mlp(self.norm2(x)))


class PostNorm(nn.Module):
    """norm1(x + attn(x)), then norm2(x + mlp(x)). Vaswani et al., 2017 (arXiv:1706.03762).

    ``mlp_dropout`` is the rate behind the MLP where it is not ``dropout`` (ALBERT and DistilBERT drop at one place only).
    """

    def __init__(self, *, attn, mlp, norm1, norm2, dropout=0.0, mlp_dropout=None):
        super().__init__()
        self.attn, self.mlp, self.norm1, self.norm2 = attn, mlp, norm1, norm2
        self.drop = nn.Dropout(dropout)
        self.mlp_drop = nn.Dropout(dropout if mlp_dropout is None else mlp_dropout)

    def forward(self, x, *, mask=None, positions=None, bias=None, cache=None):
        x = self.norm1(x + self.drop(self.attn(x, mask=mask, positions=positions, bias=bias, cache=cache)))
        return self.norm2(x + self.mlp_drop(self.mlp(x)))


class Parallel(nn.Module):
    """x + attn(norm1(x)) + mlp(norm2(x)): neither waits for the other. Wang and Komatsuzaki, 2021 (GPT-J)."""

    def __init__(self, *, attn, mlp, norm1, norm2, dropout=0.0):
        super().__init__()
        self.attn, self.mlp, self.norm1, self.norm2 = attn, mlp, norm1, norm2
        self.drop = nn.Dropout(dropout)

    def forward(self, x, *, mask=None, positions=None, bias=None, cache=None):
        y = self.drop(self.attn(self.norm1(x), mask=mask, positions=positions, bias=bias, cache=cache))
        return x + y + self.drop(self.mlp(self.norm2(x)))


class CrossPreNorm(nn.Module):
    """As PreNorm, with attention to a memory (where there is one) between the two; norm1, norm2, norm3 in that order."""

    def __init__(self, *, attn, cross, mlp, norm1, norm2, norm3, dropout=0.0):
        super().__init__()
        self.attn, self.cross, self.mlp = attn, cross, mlp
        self.norm1, self.norm2, self.norm3 = norm1, norm2, norm3
        self.drop = nn.Dropout(dropout)

    def forward(self, x, memory=None, *, mask=None, memory_mask=None, positions=None, bias=None, cache=None):
        x = x + self.drop(self.attn(self.norm1(x), mask=mask, positions=positions, bias=bias, cache=cache))
        if memory is not None:
            kept = None if cache is None else cache.memory()
            x = x + self.drop(self.cross(self.norm2(x), memory, mask=memory_mask, cache=kept))
        return x + self.drop(self.mlp(self.norm3(x)))


class CrossPostNorm(nn.Module):
    """As PostNorm, with attention to a memory (where there is one) between the two; norm1, norm2, norm3 in that order."""

    def __init__(self, *, attn, cross, mlp, norm1, norm2, norm3, dropout=0.0):
        super().__init__()
        self.attn, self.cross, self.mlp = attn, cross, mlp
        self.norm1, self.norm2, self.norm3 = norm1, norm2, norm3
        self.drop = nn.Dropout(dropout)

    def forward(self, x, memory=None, *, mask=None, memory_mask=None, positions=None, bias=None, cache=None):
        x = self.norm1(x + self.drop(self.attn(x, mask=mask, positions=positions, bias=bias, cache=cache)))
        if memory is not None:
            kept = None if cache is None else cache.memory()
            x = self.norm2(x + self.drop(self.cross(x, memory, mask=memory_mask, cache=kept)))
        return self.norm3(x + self.drop(self.mlp(x)))


class Stack(nn.ModuleList):
    """Blocks applied one after another; ``context`` is what every block takes (see the module docstring).

    x [B, T, width] -> same; ``cache`` is a :class:`catalog.layers.cache.Cache` with one entry a block. In training each
    block is skipped with probability ``skip`` (Fan et al., 2019, arXiv:1909.11556); it is computed all the same, so that
    one graph serves every draw and every parameter has a gradient.
    """

    def __init__(self, blocks=(), *, skip=0.0):
        super().__init__(blocks)
        self.skip = skip

    def forward(self, x, *memory, cache=None, **context):
        for i, block in enumerate(self):
            y = block(x, *memory, cache=None if cache is None else cache[i], **context)
            x = torch.where(torch.rand((), device=x.device) < self.skip, x, y) if self.training and self.skip else y
        return x

    def states(self, x, **context):
        """All states on the way: x as each block receives it, and as the last one leaves it; depth + 1 tensors."""
        found = [x]
        for block in self:
            found.append(block(found[-1], **context))
        return found
