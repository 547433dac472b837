"""Convolution, pooling, resizing: channels in dimension 1, as PyTorch has them."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from catalog.ports import resample

_NAMES = {1: ("NCH", "OIH", "NCH"), 2: ("NCHW", "OIHW", "NCHW"), 3: ("NCDHW", "OIDHW", "NCDHW")}


def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    dims = weight.ndim - 2
    stride, padding, dilation, output_padding = (_each(v, dims) for v in (stride, padding, dilation, output_padding))
    if transposed:
        # The gradient of a convolution: inputs spread apart, kernels turned round, channels swapped within each group.
        inputs, outputs = weight.shape[0] // groups, weight.shape[1]
        weight = weight.reshape(groups, inputs, outputs, *weight.shape[2:]).swapaxes(1, 2)
        weight = jnp.flip(weight.reshape(groups * outputs, inputs, *weight.shape[3:]), tuple(range(2, 2 + dims)))
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        pads = [(r - p, r - p + o) for r, p, o in zip(reach, padding, output_padding)]
        spread, stride = stride, [1] * dims
    else:
        pads, spread = [(p, p) for p in padding], [1] * dims
    y = lax.conv_general_dilated(
        x, weight, stride, pads, spread, dilation, _NAMES[dims], feature_group_count=groups
    )  # fmt: skip
    return y if bias is None else y + bias.reshape((1, -1) + (1,) * dims)


def _each(value, dims):
    return [value] * dims if isinstance(value, int) else list(value) * (dims if len(value) == 1 else 1)


def _windows(x, kernel, stride, padding, ceil_mode, dilation=1):
    """Padding before and behind of each pooled dimension, with what ceil mode adds behind; and the rest, spelled out."""
    dims = len(kernel)
    stride, padding, dilation = _each(stride or kernel, dims), _each(padding, dims), _each(dilation, dims)
    pads = []
    for size, k, s, p, d in zip(x.shape[-dims:], kernel, stride, padding, dilation):
        room = size + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= size + p:  # the last window must begin inside
            count -= 1
        pads.append((p, max((count - 1) * s + d * (k - 1) + 1 - size - p, 0)))
    return stride, pads, dilation


def max_pool2d(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    """Maxima, and where each stands in its flattened plane."""
    kernel = _each(kernel, 2)
    stride, pads, dilation = _windows(x, kernel, stride, padding, ceil_mode, dilation)
    lead = (1,) * (x.ndim - 2)
    low = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    out = lax.reduce_window(
        x, np.asarray(low, x.dtype), lax.max, lead + tuple(kernel), lead + tuple(stride),
        ((0, 0),) * len(lead) + tuple(pads), window_dilation=lead + tuple(dilation),
    )  # fmt: skip
    height, width = x.shape[-2:]
    padded = jnp.pad(lax.stop_gradient(x), [(0, 0)] * len(lead) + pads, constant_values=low)
    place = np.arange(height)[:, None] * width + np.arange(width)
    place = np.pad(place, pads)
    shifted = [
        (slice(i * dilation[0], i * dilation[0] + (out.shape[-2] - 1) * stride[0] + 1, stride[0]),
         slice(j * dilation[1], j * dilation[1] + (out.shape[-1] - 1) * stride[1] + 1, stride[1]))
        for i in range(kernel[0]) for j in range(kernel[1])
    ]  # fmt: skip
    best = jnp.argmax(jnp.stack([padded[(..., *s)] for s in shifted]), 0)
    places = jnp.asarray(np.stack([place[s] for s in shifted]))
    found = jnp.take_along_axis(places.reshape(len(shifted), *lead, *out.shape[-2:]), best[None], 0)[0]
    if max(dilation) > 1:  # JAX has no gradient of its own window here
        flat = (*x.shape[:-2], -1)
        out = jnp.take_along_axis(x.reshape(flat), found.reshape(flat), -1).reshape(out.shape)
    return [out, found]


def _avg_pool(dims):
    def pool(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        kernel = _each(kernel, dims)
        stride, pads, _ = _windows(x, kernel, stride, padding, ceil_mode)
        lead = (1,) * (x.ndim - dims)
        window, step = lead + tuple(kernel), lead + tuple(stride)

        def total(values, pads):
            return lax.reduce_window(
                values, np.zeros((), values.dtype), lax.add, window, step, ((0, 0),) * len(lead) + tuple(pads)
            )

        if divisor_override:
            return total(x, pads) / divisor_override
        # Padding counts as elements where asked for; what ceil mode reaches beyond the padding never does.
        counted = _each(padding, dims) if count_include_pad else [0] * dims
        ones = jnp.ones(lead + tuple(n + 2 * c for n, c in zip(x.shape[-dims:], counted)), x.dtype)
        return total(x, pads) / total(ones, [(a - c, b - c) for (a, b), c in zip(pads, counted)])

    return pool


def _along(x, matrices):
    """Multiply the last axes by one matrix each."""
    for i, matrix in enumerate(reversed(matrices)):
        axis = x.ndim - 1 - i
        x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(matrix, x.dtype), ((axis,), (1,))), -1, axis)
    return x


def adaptive_avg_pool(x, sizes):
    sizes = [sizes] if isinstance(sizes, int) else sizes
    return _along(x, [resample.adaptive(n, out) for n, out in zip(x.shape[-len(sizes) :], sizes)])


def _sizes(x, sizes, factors):
    """Output sizes and factors, of overloads that give one or the other or both."""
    dims = x.ndim - 2
    factors = (
        [None] * dims
        if not factors
        else _each(factors, dims)
        if isinstance(factors, (list, tuple))
        else [factors] * dims
    )
    return sizes or [int(n * f) for n, f in zip(x.shape[2:], factors)], factors


def _interpolate(mode):
    def resize(x, sizes, align_corners, *factors):
        factors = factors[0] if len(factors) == 1 else [f for f in factors if f is not None]
        sizes, factors = _sizes(x, sizes, factors)
        return _along(x, [
            resample.interpolate(n, out, mode, align_corners, f) for n, out, f in zip(x.shape[2:], sizes, factors)
        ])  # fmt: skip

    return resize


def nearest(x, sizes, *factors):
    factors = factors[0] if len(factors) == 1 else [f for f in factors if f is not None]
    sizes, factors = _sizes(x, sizes, factors)
    for axis, (out, factor) in enumerate(zip(sizes, factors), 2):
        x = jnp.take(x, resample.nearest(x.shape[axis], out, factor), axis=axis)
    return x


def grid_sampler_2d(x, grid, mode, padding, align_corners):
    """x [B, C, H, W] read at grid [B, h, w, 2] in [-1, 1] (x first); mode 0 linear, 1 nearest; padding 0 zeros, 1 border."""
    if padding > 1 or mode > 1:
        raise NotImplementedError("grid_sampler_2d: reflection padding and cubic interpolation")
    height, width = x.shape[2:]

    def place(at, size):
        at = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        return jnp.clip(at, 0, size - 1) if padding == 1 else at

    across, down = place(grid[..., 0], width), place(grid[..., 1], height)
    batch = jnp.arange(x.shape[0])[:, None, None]
    rows = x.transpose(0, 2, 3, 1)

    def read(i, j):
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        found = rows[batch, jnp.clip(i, 0, height - 1).astype(int), jnp.clip(j, 0, width - 1).astype(int)]
        return jnp.where(inside[..., None], found, 0)

    if mode == 1:
        out = read(jnp.round(down), jnp.round(across))
    else:
        top, left = jnp.floor(lax.stop_gradient(down)), jnp.floor(lax.stop_gradient(across))
        out = sum(
            read(top + i, left + j) * ((1 - abs(down - top - i)) * (1 - abs(across - left - j)))[..., None]
            for i in (0, 1) for j in (0, 1)
        )  # fmt: skip
    return out.transpose(0, 3, 1, 2)


def im2col(x, kernel, dilation, padding, stride):
    """[B, C, H, W] -> [B, C * kernel, windows]."""
    columns = lax.conv_general_dilated_patches(
        x, kernel, stride, [(p, p) for p in padding], rhs_dilation=dilation, dimension_numbers=_NAMES[2]
    )  # fmt: skip
    return columns.reshape(*columns.shape[:2], -1)


def col2im(x, sizes, kernel, dilation, padding, stride):
    """The inverse sum: [B, C * kernel, windows] -> [B, C, H, W]."""
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(sizes, kernel, dilation, padding, stride)
    ]  # fmt: skip
    x = x.reshape(x.shape[0], -1, *kernel, *counts)
    out = jnp.zeros((x.shape[0], x.shape[1], *(n + 2 * p for n, p in zip(sizes, padding))), x.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            place = out.at[
                :, :, top : top + counts[0] * stride[0] : stride[0], left : left + counts[1] * stride[1] : stride[1]
            ]
            out = place.add(x[:, :, i, j])
    return out[:, :, padding[0] : padding[0] + sizes[0], padding[1] : padding[1] + sizes[1]]


OPS = {
    "convolution": convolution, "max_pool2d_with_indices": max_pool2d, "avg_pool1d": _avg_pool(1), "avg_pool2d": _avg_pool(2),
    "avg_pool3d": _avg_pool(3), "adaptive_avg_pool1d": adaptive_avg_pool, "_adaptive_avg_pool2d": adaptive_avg_pool,
    "upsample_nearest1d": nearest, "upsample_nearest2d": nearest, "upsample_linear1d": _interpolate("linear"),
    "upsample_bilinear2d": _interpolate("linear"), "upsample_bicubic2d": _interpolate("cubic"),
    "grid_sampler_2d": grid_sampler_2d, "im2col": im2col, "col2im": col2im,
}  # fmt: skip
