"""From waveforms to frames, and where in the recording a frame stands.

Baevski et al., 2020, wav2vec 2.0 (arXiv:2006.11477).
"""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from catalog.layers.conv import ChannelNorm
from catalog.layers.mlp import activation


class FeatureConv(nn.Module):
    """act(norm(conv(x))); x [B, C, L] -> [B, C', L']."""

    def __init__(self, conv, norm, act):
        super().__init__()
        self.conv, self.norm, self.act = conv, norm, activation(act)

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))

    def initialise(self, std):
        """Whatever ``std``: by the number of inputs, as published."""
        nn.init.kaiming_normal_(self.conv.weight)
        if self.conv.bias is not None:
            bound = (self.conv.in_channels * self.conv.kernel_size[0]) ** -0.5
            nn.init.uniform_(self.conv.bias, -bound, bound)


class ConvFeatures(nn.ModuleList):
    """Convolutions without padding over a waveform [B, L] -> frames [B, T, sizes[-1]].

    ``norms`` is one module a convolution; :func:`group_norms` and :func:`channel_norms` are the two published choices.
    """

    def __init__(self, sizes, kernels, strides, *, norms, act="gelu", bias=False):
        inputs = (1, *sizes[:-1])
        convs = [nn.Conv1d(*s, k, stride=step, bias=bias) for *s, k, step in zip(inputs, sizes, kernels, strides)]
        super().__init__(FeatureConv(conv, norm, act) for conv, norm in zip(convs, norms))

    def forward(self, waveform):
        x = waveform[:, None]
        for conv in self:
            x = conv(x)
        return x.transpose(1, 2)

    def lengths(self, samples):
        """How many frames come of so many samples (a tensor or a number)."""
        for block in self:
            samples = (samples - block.conv.kernel_size[0]) // block.conv.stride[0] + 1
        return samples


def group_norms(sizes):
    """Each channel of the first convolution normalised over time, nothing behind the others."""
    return [nn.GroupNorm(sizes[0], sizes[0]), *(nn.Identity() for _ in sizes[1:])]


def channel_norms(sizes):
    """Layer normalisation over the channels behind every convolution."""
    return [ChannelNorm(size) for size in sizes]


class ConvPositions(nn.Module):
    """act(a wide grouped convolution over the frames), to be added to them; x [B, T, width] -> same.

    Its weight is ``gain`` [1, 1, kernel] times ``direction`` [width, width / groups, kernel] made of length one at each
    step of the kernel. Salimans and Kingma, 2016 (arXiv:1602.07868).
    """

    def __init__(self, width, kernel, groups, act="gelu"):
        super().__init__()
        self.gain = nn.Parameter(torch.empty(1, 1, kernel))
        self.direction = nn.Parameter(torch.empty(width, width // groups, kernel))
        self.bias = nn.Parameter(torch.empty(width))
        self.kernel, self.groups, self.act = kernel, groups, activation(act)

    def forward(self, x):
        weight = self.direction * (self.gain / self.direction.norm(dim=(0, 1), keepdim=True))
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return self.act(y[..., : x.shape[1]]).transpose(1, 2)  # an even kernel gives one frame too many

    def initialise(self, std):
        """Whatever ``std``: by the kernel and the width, as published."""
        width = self.direction.shape[0]
        nn.init.normal_(self.direction, 0.0, 2 * math.sqrt(1 / (self.kernel * width)))
        with torch.no_grad():
            self.gain.copy_(self.direction.norm(dim=(0, 1), keepdim=True))
        nn.init.zeros_(self.bias)


class Subsample(nn.ModuleList):
    """Gated convolutions of stride ``stride`` that shorten x [B, T, sizes[0]] -> [B, T', sizes[-1]].

    Synnaeve et al., 2019 (arXiv:1911.08460).
    """

    def __init__(self, sizes, kernel=3, stride=2, *, padding=1):
        convs = (nn.Conv1d(a, 2 * b, kernel, stride=stride, padding=padding) for a, b in pairwise(sizes))
        super().__init__(convs)

    def forward(self, x):
        x = x.transpose(1, 2)
        for conv in self:
            x = F.glu(conv(x), dim=1)
        return x.transpose(1, 2)

    def lengths(self, frames):
        """How many frames are left of so many (a tensor or a number)."""
        for conv in self:
            frames = (frames + 2 * conv.padding[0] - conv.kernel_size[0]) // conv.stride[0] + 1
        return frames
