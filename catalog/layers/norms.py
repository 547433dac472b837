"""Normalisations that PyTorch lacks or computes in another order than the published models do."""

import torch
from torch import nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, the mean in fp32; [..., width] -> same.

    The scale multiplies after the cast back to the input's type, as LLaMA and T5 checkpoints were trained.
    Zhang and Sennrich, 2019 (arXiv:1910.07467).
    """

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)

    def initialise(self, std):
        nn.init.ones_(self.weight)


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and scales never change; [B, C, H, W] -> same. Used under detection heads."""

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.empty(channels))
        self.initialise(0.0)

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def initialise(self, std):
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            getattr(self, name).fill_(value)
