"""Orders of axes between PyTorch's layout of a tensor and a file's. ``None`` stands for a new axis of size 1."""

from collections.abc import Sequence

import numpy as np

Axes = Sequence[int | None] | None


def turned(array: np.ndarray, axes: Axes) -> np.ndarray:
    """An array with its axes in this order; of an order shorter than the array, axes of size 1 are left out."""
    if axes is None:
        return array
    kept = [a for a in axes if a is not None]
    left = tuple(d for d in range(array.ndim) if d not in kept)
    if any(array.shape[d] != 1 for d in left):
        return array  # not what the order is for; whoever compares shapes will say so
    array = array.transpose([*left, *kept]).reshape([array.shape[a] for a in kept])
    for place, axis in enumerate(axes):
        if axis is None:
            array = np.expand_dims(array, place)
    return array


def returned(array: np.ndarray, axes: Axes) -> np.ndarray:
    """The inverse of :func:`turned`."""
    if axes is None:
        return array
    array = array.squeeze(tuple(place for place, axis in enumerate(axes) if axis is None))
    return array.transpose(np.argsort([a for a in axes if a is not None]))


def shape(sizes: Sequence[int], axes: Axes) -> tuple[int, ...]:
    """The shape of a turned array."""
    return tuple(sizes) if axes is None else tuple(1 if a is None else sizes[a] for a in axes)
