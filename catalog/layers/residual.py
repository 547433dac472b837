"""Residual branches that are scaled by learned factors, and dropped whole while training."""

import torch
from torch import nn


class DropPath(nn.Module):
    """Drops the whole branch of an example with probability ``rate`` while training; x [B, ...] -> same.

    Huang et al., 2016 (arXiv:1603.09382).
    """

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or not self.rate:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * kept.to(x.dtype) / (1 - self.rate)


def path_rates(rate: float, depth: int) -> list[float]:
    """The drop rate of each of ``depth`` blocks, growing linearly from 0 to ``rate``."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]


class LayerScale(nn.Module):
    """x * weight, a learned factor a channel that starts at ``value``; [..., width] -> same.

    Touvron et al., 2021 (arXiv:2103.17239).
    """

    def __init__(self, width, value):
        super().__init__()
        self.weight, self.value = nn.Parameter(torch.empty(width)), value

    def forward(self, x):
        return x * self.weight

    def initialise(self, std):
        nn.init.constant_(self.weight, self.value)


class ScaledPreNorm(nn.Module):
    """x + path(scale1(attn(norm1(x)))), then x + path(scale2(mlp(norm2(x)))).

    As :class:`catalog.layers.blocks.PreNorm`, with a factor on each branch (``None``: 1) and a branch dropped whole at the
    rate ``path``; x [..., width], and ``context`` is what ``attn`` takes beside it.
    """

    def __init__(self, *, attn, mlp, norm1, norm2, scale1=None, scale2=None, dropout=0.0, path=0.0):
        super().__init__()
        self.attn, self.mlp, self.norm1, self.norm2 = attn, mlp, norm1, norm2
        self.scale1, self.scale2 = scale1 or nn.Identity(), scale2 or nn.Identity()
        self.drop, self.path = nn.Dropout(dropout), DropPath(path)

    def forward(self, x, **context):
        x = x + self.path(self.scale1(self.drop(self.attn(self.norm1(x), **context))))
        return x + self.path(self.scale2(self.drop(self.mlp(self.norm2(x)))))
