"""Linear interpolation of arrays, with pixels and frames taken as cells: centres at 0.5, 1.5, ..."""

import numpy as np


def linear(x, size, mirrored=False):
    """The first axis of [N, ...] resampled to ``size`` without smoothing.

    Beyond the outermost centres the end value counts or, ``mirrored``, the values before it in reverse.
    """
    n = len(x)
    at = (np.arange(size) + 0.5) * n / size - 0.5
    at = n - 1 - np.abs(n - 1 - np.abs(at)) if mirrored else np.clip(at, 0, n - 1)
    low = np.floor(at).astype(int)
    high, share = np.minimum(low + 1, n - 1), (at - low).astype(np.float32)
    share = share.reshape(-1, *[1] * (x.ndim - 1))
    return x[low] * (1 - share) + x[high] * share
