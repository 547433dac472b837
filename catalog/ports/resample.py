"""Resizing and adaptive pooling along one axis as a matrix, in numpy: what both frameworks multiply by."""

import numpy as np


def adaptive(size: int, out: int) -> np.ndarray:
    """[out, size] fp32: row i is the mean over input positions floor(i size / out) to ceil((i + 1) size / out)."""
    matrix = np.zeros((out, size), np.float32)
    for i in range(out):
        low, high = i * size // out, -(-(i + 1) * size // out)
        matrix[i, low:high] = 1 / (high - low)
    return matrix


def interpolate(size: int, out: int, mode: str, align_corners: bool, scale: float | None = None) -> np.ndarray:
    """[out, size] fp32: row i weighs the inputs of output i; ``mode`` is ``linear`` or ``cubic`` (a = -0.75).

    ``scale`` is the factor that was asked for, where PyTorch computes positions from it and not from the sizes.
    """
    if align_corners:
        at = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = (np.arange(out) + 0.5) * (1 / scale if scale else size / out) - 0.5
        at = np.maximum(at, 0) if mode == "linear" else at
    low = np.floor(at).astype(int)
    part = (at - low)[:, None]
    offsets = np.arange(-1, 3) if mode == "cubic" else np.arange(2)
    distance = np.abs(part - offsets)
    weights = _cubic(distance) if mode == "cubic" else np.maximum(1 - distance, 0)
    matrix = np.zeros((out, size), np.float64)
    places = np.clip(low[:, None] + offsets, 0, size - 1)
    np.add.at(matrix, (np.arange(out)[:, None], places), weights)
    return matrix.astype(np.float32)


def _cubic(x, a=-0.75):
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def nearest(size: int, out: int, scale: float | None = None) -> np.ndarray:
    """[out] whole numbers: the input position that each output copies."""
    return np.minimum(np.floor(np.arange(out) * (1 / scale if scale else size / out)), size - 1).astype(np.int32)
