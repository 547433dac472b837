"""Positions as sines and cosines: tables that the configuration determines, so that no checkpoint needs to hold them."""

import math

import torch
from torch import nn


class SinusoidPositions(nn.Module):
    """Half the channels the sines, half the cosines of positions [1 or B, T] -> [1 or B, T, width], fp32.

    The rate of channel i is base**(-i / (width / 2 - 1)), so that the last one is exactly 1 / base. Vaswani et al., 2017
    (arXiv:1706.03762), in the order of tensor2tensor.
    """

    def __init__(self, width, base=10000.0):
        super().__init__()
        self.half, self.base = width // 2, base

    def forward(self, positions):
        steps = torch.arange(self.half, device=positions.device, dtype=torch.float32) / (self.half - 1)
        angles = positions[..., None].float() * torch.pow(self.base, -steps)
        return torch.cat([angles.sin(), angles.cos()], -1)


class SinusoidGrid(nn.Module):
    """Sines and cosines of the row and the column of each place: bool [B, H, W], True at the image -> [B, H * W, width], fp32.

    Rows and columns count real places from the image's first, as a share of the image's size, 2 pi in all. The first half
    of the channels tells the row; sine and cosine of each rate stand side by side. Carion et al., 2020 (arXiv:2005.12872).
    """

    def __init__(self, width, base=10000.0):
        super().__init__()
        self.half, self.base = width // 2, base

    def forward(self, real):
        rows, columns = (real.float().cumsum(axis) for axis in (1, 2))
        rows, columns = rows / (rows[:, -1:] + 1e-6), columns / (columns[:, :, -1:] + 1e-6)
        return torch.cat([self._waves(rows), self._waves(columns)], -1).flatten(1, 2)

    def _waves(self, shares):
        channel = torch.arange(self.half, device=shares.device)
        rates = torch.pow(self.base, -(2 * (channel // 2)).float() / self.half)
        angles = 2 * math.pi * shares[..., None] * rates
        return torch.where(channel % 2 == 0, angles.sin(), angles.cos())
