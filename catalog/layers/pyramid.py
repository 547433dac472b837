"""From maps of several resolutions to one, for dense predictions; maps are [B, channels, H, W]."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from catalog.layers.conv import ConvNormAct


def resize(x, shape):
    """Bilinear samples of maps at another (H, W)."""
    return F.interpolate(x, size=tuple(shape), mode="bilinear", align_corners=False)


class PooledScales(nn.Module):
    """A map beside its means over grids of each of ``scales`` a side, brought back to its size and merged.

    [B, inputs, H, W] -> [B, width, H, W]. Zhao et al., 2016 (arXiv:1612.01105).
    """

    def __init__(self, inputs, width, scales):
        super().__init__()
        self.scales = scales
        self.convs = nn.ModuleList(ConvNormAct(inputs, width, 1) for _ in scales)
        self.merge = ConvNormAct(inputs + len(scales) * width, width, 3)

    def forward(self, x):
        means = [conv(F.adaptive_avg_pool2d(x, scale)) for scale, conv in zip(self.scales, self.convs)]
        return self.merge(torch.cat([x, *(resize(mean, x.shape[2:]) for mean in means)], 1))


class UperDecoder(nn.Module):
    """Maps of falling resolution -> one [B, width, H, W] at that of the first: what is coarse is added to what is fine.

    ``inputs`` are the maps' channels. Xiao et al., 2018 (arXiv:1807.10221).
    """

    def __init__(self, inputs, width, scales):
        super().__init__()
        conv = partial(ConvNormAct, width, width, 3)
        self.pooled = PooledScales(inputs[-1], width, scales)
        self.sides = nn.ModuleList(ConvNormAct(channels, width, 1) for channels in inputs[:-1])
        self.smooth = nn.ModuleList(conv() for _ in inputs[:-1])
        self.merge = ConvNormAct(len(inputs) * width, width, 3)

    def forward(self, maps):
        found = [self.pooled(maps[-1])]
        for side, x in zip(reversed(self.sides), reversed(maps[:-1])):
            x = side(x)
            found.insert(0, x + resize(found[0], x.shape[2:]))
        found = [*(smooth(x) for smooth, x in zip(self.smooth, found)), found[-1]]
        shape = found[0].shape[2:]
        return self.merge(torch.cat([found[0], *(resize(x, shape) for x in found[1:])], 1))


class OneScalePyramid(nn.Module):
    """Four maps of one resolution -> the same at 4, 2, 1 and 1/2 times it: how plain transformers feed such decoders.

    Of three maps the last serves twice, at its own resolution.
    """

    def __init__(self, width):
        super().__init__()
        double = partial(nn.ConvTranspose2d, width, width, 2, 2)
        self.up4 = nn.Sequential(double(), nn.BatchNorm2d(width), nn.GELU(), double())
        self.up2 = nn.Sequential(double())

    def forward(self, maps):
        first, second, third = self.up4(maps[0]), self.up2(maps[1]), maps[2]
        return [first, second, third, F.max_pool2d(maps[3], 2) if len(maps) > 3 else third]
