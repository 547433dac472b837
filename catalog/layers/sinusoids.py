"""Positions as sines and cosines: tables that the configuration determines, so that no checkpoint needs to hold them."""

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
