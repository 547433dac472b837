"""The two-layer networks inside blocks, and the activation functions by their published names."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog.errors import ConfigError, did_you_mean


def gelu_tanh(x):
    """The tanh form of GELU, x [...]. Hendrycks and Gimpel, 2016 (arXiv:1606.08415)."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x):
    """x * sigmoid(1.702 x), as CLIP was trained."""
    return x * torch.sigmoid(1.702 * x)


def squared_relu(x):
    """relu(x)^2. So et al., 2021 (arXiv:2109.08668)."""
    return F.relu(x).square()


def identity(x):
    """No activation."""
    return x


def gelu_10(x):
    """GELU clipped to [-10, 10], for quantised weights."""
    return F.gelu(x).clamp(-10, 10)


ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "gelu_10": gelu_10,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu2": squared_relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "linear": identity,
}


def activation(name: str):
    """The activation function of this published name, a function of a tensor. Raises ConfigError on another name."""
    if name not in ACTIVATIONS:
        raise ConfigError(f"no activation '{name}'{did_you_mean(name, ACTIVATIONS)}. Known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """down(act(up(x))); x [B, T, width] -> same."""

    def __init__(self, width, hidden, act="gelu", *, bias=True, dropout=0.0):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden, bias=bias), nn.Linear(hidden, width, bias=bias)
        self.act, self.drop = (
            activation(act),
            nn.Dropout(dropout),
        )  # dropout between the layers; blocks drop behind them

    def forward(self, x):
        return self.down(self.drop(self.act(self.up(x))))


class GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x)); x [B, T, width] -> same. Shazeer, 2020 (arXiv:2002.05202)."""

    def __init__(self, width, hidden, act="silu", *, bias=False, dropout=0.0):
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=bias), nn.Linear(width, hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)
        self.act, self.drop = activation(act), nn.Dropout(dropout)

    def forward(self, x):
        return self.down(self.drop(self.act(self.gate(x)) * self.up(x)))
