"""Tensors that ops are called with in tests, the same in every run."""

import torch

_generator = torch.Generator().manual_seed(0)


def x(*shape, low=None, high=None, dtype=torch.float32):
    """Normal numbers, or uniform ones in [low, high)."""
    if low is None:
        return torch.randn(shape, generator=_generator).to(dtype)
    return (torch.rand(shape, generator=_generator) * (high - low) + low).to(dtype)


def whole(*shape, high=5, low=0, dtype=torch.int64):
    """Whole numbers in [low, high)."""
    return torch.randint(low, high, shape, generator=_generator).to(dtype)


def flags(*shape):
    """Booleans."""
    return torch.rand(shape, generator=_generator) > 0.4


def distinct(*shape):
    """Numbers of which no two are equal, so that orders and extremes have one answer."""
    count = int(torch.tensor(shape).prod())
    return (torch.randperm(count, generator=_generator).float() / count - 0.5).reshape(shape)


def still(tensor):
    """A tensor that PyTorch gives no gradient for here."""
    tensor.still = True
    return tensor


def square():
    """Invertible matrices."""
    return x(2, 3, 3) + 3 * torch.eye(3)


class kw(dict):
    """Keyword arguments."""
