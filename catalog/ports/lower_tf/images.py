"""Convolution, pooling, resizing: channels in dimension 1, as PyTorch has them; inside they come last, as CPUs need it."""

import numpy as np
import tensorflow as tf

from catalog.ports import resample
from catalog.ports.lower_tf.sizes import product, rank, shape, size, sizes


def _each(value, dims):
    return [value] * dims if isinstance(value, int) else list(value) * (dims if len(value) == 1 else 1)


def _last(x):
    return tf.transpose(x, [0, *range(2, rank(x)), 1])


def _first(x):
    return tf.transpose(x, [0, rank(x) - 1, *range(1, rank(x) - 1)])


def _spread(x, factors, start):
    """Zeros between the elements of the axes from ``start`` on."""
    for axis, factor in enumerate(factors, start):
        if factor > 1:
            lengths = sizes(x)
            behind = [(0, factor - 1 if d == axis + 1 else 0) for d in range(rank(x) + 1)]
            wide = tf.pad(tf.expand_dims(x, axis + 1), behind)
            lengths[axis] = lengths[axis] * factor
            x = tf.reshape(wide, shape(lengths))
            x = x[(slice(None),) * axis + (slice(0, lengths[axis] - (factor - 1)),)]
    return x


def _padded(x, pads):
    """Zeros around the axes behind the first of a channels-last tensor; less than none cuts off."""
    if any(n < 0 for pair in pads for n in pair):
        cuts = [slice(max(-a, 0), b if b < 0 else None) for a, b in pads]
        x, pads = x[(slice(None), *cuts)], [(max(a, 0), max(b, 0)) for a, b in pads]
    return tf.pad(x, [(0, 0), *pads, (0, 0)]) if any(n for pair in pads for n in pair) else x


def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    dims = rank(weight) - 2
    stride, padding, dilation, output_padding = (_each(v, dims) for v in (stride, padding, dilation, output_padding))
    x, axes = _last(x), range(2, 2 + dims)
    if transposed:
        # The gradient of a convolution: inputs spread apart, kernels turned round, channels swapped within each group.
        inputs, outputs = weight.shape[0] // groups, weight.shape[1]
        weight = tf.reshape(weight, [groups, inputs, outputs, *weight.shape[2:]])
        weight = tf.reshape(tf.einsum("gio...->goi...", weight), [groups * outputs, inputs, *weight.shape[3:]])
        weight = tf.reverse(weight, list(axes))
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        x, stride = _spread(x, stride, 1), [1] * dims
        pads = [(r - p, r - p + o) for r, p, o in zip(reach, padding, output_padding)]
    else:
        pads = [(p, p) for p in padding]
    # Kernels [.., in, out] spread by hand: CPUs know no gradient of a dilated convolution.
    kernel = _spread(tf.transpose(weight, [*axes, 1, 0]), dilation, 0)
    y = _first(_convolve(_padded(x, pads), kernel, stride, groups))
    return y if bias is None else y + tf.reshape(bias, [1, -1] + [1] * dims)


def _convolve(x, kernel, stride, groups):
    dims, each = len(stride), kernel.shape[-2]
    if dims == 1 and groups > 1:  # as an image of one row
        y = _convolve(tf.expand_dims(x, 1), tf.expand_dims(kernel, 0), [stride[0], stride[0]], groups)
        return tf.squeeze(y, 1)
    if groups == 1:
        return tf.nn.convolution(x, kernel, stride, "VALID")
    if dims == 2 and each == 1 and stride[0] == stride[1]:
        many = kernel.shape[-1] // groups
        return tf.nn.depthwise_conv2d(
            x, tf.reshape(kernel, [*kernel.shape[:2], groups, many]), [1, *stride, 1], "VALID"
        )
    # CPUs know no gradient of a grouped convolution either
    parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1))
    return tf.concat([tf.nn.convolution(part, k, stride, "VALID") for part, k in parts], -1)


def _windows(lengths, kernel, stride, padding, ceil_mode, dilation=1):
    """Steps, and padding before and behind of each pooled dimension with what ceil mode adds behind."""
    dims = len(kernel)
    stride, padding, dilation = _each(stride or kernel, dims), _each(padding, dims), _each(dilation, dims)
    pads = []
    for length, k, s, p, d in zip(lengths, kernel, stride, padding, dilation):
        room = length + 2 * p - d * (k - 1) - 1
        if not ceil_mode:
            pads.append((p, p))  # what is left over behind the last window is never read
            continue
        if not isinstance(length, int):
            raise NotImplementedError("pooling in ceil mode along a dimension of unknown size")
        count = -(-room // s) + 1
        if (count - 1) * s >= length + p:  # the last window must begin inside
            count -= 1
        pads.append((p, max((count - 1) * s + d * (k - 1) + 1 - length - p, p)))
    return stride, pads, dilation


def _taps(x, kernel, stride, dilation):
    """For each element of the window, that element of every window; the pooled axes are the last ones of ``x``."""
    lead, dims = rank(x) - len(kernel), len(kernel)
    counts = [(size(x, lead + d) - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in range(dims)]
    for at in np.ndindex(*kernel):
        starts = [i * d for i, d in zip(at, dilation)]
        spans = [slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(starts, counts, stride)]
        yield x[(..., *spans)]


def max_pool2d(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    """Maxima, and where each stands in its flattened plane."""
    kernel, (height, width) = _each(kernel, 2), sizes(x)[-2:]
    stride, pads, dilation = _windows((height, width), kernel, stride, padding, ceil_mode, dilation)
    low, lead = x.dtype.min, rank(x) - 2
    padded = tf.pad(x, [(0, 0)] * lead + pads, constant_values=tf.constant(low, x.dtype))
    places = tf.range(height)[:, None] * width + tf.range(width)
    places = tf.stack(list(_taps(tf.pad(places, pads), kernel, stride, dilation)))
    taps = tf.stack(list(_taps(padded, kernel, stride, dilation)))
    best = tf.argmax(tf.stop_gradient(taps), 0)
    chosen = tf.one_hot(best, product(kernel), axis=0, dtype=x.dtype)
    out = tf.reduce_sum(tf.where(chosen > 0, taps, tf.zeros_like(taps)), 0)
    places = tf.reshape(places, shape([product(kernel), *[1] * lead, *sizes(places)[1:]]))
    return [out, tf.reduce_sum(tf.cast(chosen, tf.int64) * tf.cast(places, tf.int64), 0)]


def _avg_pool(dims):
    def pool(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        kernel, lengths = _each(kernel, dims), sizes(x)[-dims:]
        stride, pads, _ = _windows(lengths, kernel, stride, padding, ceil_mode)

        def total(values, pads):
            padded = tf.pad(values, [(0, 0)] * (rank(values) - dims) + pads)
            return tf.add_n(list(_taps(padded, kernel, stride, [1] * dims)))

        if divisor_override:
            return total(x, pads) / divisor_override
        # Padding counts as elements where asked for; what ceil mode reaches beyond the padding never does.
        counted = _each(padding, dims) if count_include_pad else [0] * dims
        ones = tf.ones(shape(n + 2 * c for n, c in zip(lengths, counted)), x.dtype)
        return total(x, pads) / total(ones, [(a - c, b - c) for (a, b), c in zip(pads, counted)])

    return pool


def _along(x, matrices):
    """Multiply the last axes by one matrix each."""
    for i, matrix in enumerate(reversed(matrices)):
        order = list(range(rank(x)))
        order[-1], order[-1 - i] = order[-1 - i], order[-1]
        moved = tf.transpose(x, order)
        rows = tf.matmul(tf.reshape(moved, shape([-1, size(moved, -1)])), tf.constant(matrix.T, x.dtype))
        x = tf.transpose(tf.reshape(rows, shape([*sizes(moved)[:-1], matrix.shape[0]])), order)
    return x


def adaptive_avg_pool(x, lengths):
    lengths = [lengths] if isinstance(lengths, int) else lengths
    return _along(x, [resample.adaptive(n, out) for n, out in zip(_known(x, len(lengths)), lengths)])


def _known(x, dims):
    """The last sizes, which must be known: what is resized belongs to the program."""
    found = x.shape.as_list()[-dims:]
    if None in found:
        raise NotImplementedError("resizing along a dimension of unknown size")
    return found


def _sizes(x, lengths, factors):
    """Output sizes and factors, of overloads that give one or the other or both."""
    dims, factors = rank(x) - 2, [f for f in factors if f is not None]
    factors = factors[0] if len(factors) == 1 and isinstance(factors[0], (list, tuple)) else factors
    factors = _each(factors, dims) if factors else [None] * dims
    known = _known(x, dims)
    return known, lengths or [int(n * f) for n, f in zip(known, factors)], factors


def _interpolate(mode):
    def resize(x, lengths, align_corners, *factors):
        known, lengths, factors = _sizes(x, lengths, factors)
        return _along(x, [
            resample.interpolate(n, out, mode, align_corners, f) for n, out, f in zip(known, lengths, factors)
        ])  # fmt: skip

    return resize


def nearest(x, lengths, *factors):
    known, lengths, factors = _sizes(x, lengths, factors)
    for axis, (n, out, factor) in enumerate(zip(known, lengths, factors), 2):
        x = tf.gather(x, resample.nearest(n, out, factor), axis=axis)
    return x


def grid_sampler_2d(x, grid, mode, padding, align_corners):
    """x [B, C, H, W] read at grid [B, h, w, 2] in [-1, 1] (x first); mode 0 linear, 1 nearest; padding 0 zeros, 1 border."""
    if padding > 1 or mode > 1:
        raise NotImplementedError("grid_sampler_2d: reflection padding and cubic interpolation")
    height, width = sizes(x)[2:]

    def place(at, length):
        length = tf.cast(length, at.dtype)
        at = (at + 1) / 2 * (length - 1) if align_corners else ((at + 1) * length - 1) / 2
        return _clipped(at, tf.zeros_like(length), length - 1) if padding == 1 else at

    across, down = place(grid[..., 0], width), place(grid[..., 1], height)
    rows = _last(x)

    def read(i, j):
        i, j = tf.cast(i, tf.int32), tf.cast(j, tf.int32)
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        places = tf.stack([tf.clip_by_value(i, 0, height - 1), tf.clip_by_value(j, 0, width - 1)], -1)
        return tf.where(inside[..., None], tf.gather_nd(rows, places, batch_dims=1), tf.zeros([], x.dtype))

    if mode == 1:
        return _first(read(tf.round(down), tf.round(across)))
    top, left = tf.floor(tf.stop_gradient(down)), tf.floor(tf.stop_gradient(across))
    return _first(tf.add_n([
        read(top + i, left + j) * ((1 - abs(down - top - i)) * (1 - abs(across - left - j)))[..., None]
        for i in (0, 1) for j in (0, 1)
    ]))  # fmt: skip


def _clipped(x, low, high):
    """Clipped, without a gradient beyond the bounds and at them."""
    inside = (x > low) & (x < high)
    return tf.where(inside, x, tf.stop_gradient(tf.clip_by_value(x, low, high)))


def im2col(x, kernel, dilation, padding, stride):
    """[B, C, H, W] -> [B, C * kernel, windows]."""
    padded = tf.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    taps = tf.stack(list(_taps(padded, kernel, stride, dilation)), 2)
    return tf.reshape(taps, shape([size(x, 0), size(x, 1) * product(kernel), size(taps, 3) * size(taps, 4)]))


def col2im(x, lengths, kernel, dilation, padding, stride):
    """The inverse sum: [B, C * kernel, windows] -> [B, C, H, W]."""
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(lengths, kernel, dilation, padding, stride)
    ]  # fmt: skip
    channels = size(x, 1) // product(kernel)
    taps = tf.reshape(x, shape([size(x, 0), channels, *kernel, *counts]))
    total = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            part = _spread(taps[:, :, i, j], stride, 2)
            starts = [i * dilation[0], j * dilation[1]]
            behind = [
                n + 2 * p - b - (c - 1) * s - 1 for n, p, b, c, s in zip(lengths, padding, starts, counts, stride)
            ]
            total.append(tf.pad(part, [(0, 0), (0, 0), *zip(starts, behind)]))
    out = tf.add_n(total)
    return out[:, :, padding[0] : padding[0] + lengths[0], padding[1] : padding[1] + lengths[1]]


OPS = {
    "convolution": convolution, "max_pool2d_with_indices": max_pool2d, "avg_pool1d": _avg_pool(1), "avg_pool2d": _avg_pool(2),
    "avg_pool3d": _avg_pool(3), "adaptive_avg_pool1d": adaptive_avg_pool, "_adaptive_avg_pool2d": adaptive_avg_pool,
    "upsample_nearest1d": nearest, "upsample_nearest2d": nearest, "upsample_linear1d": _interpolate("linear"),
    "upsample_bilinear2d": _interpolate("linear"), "upsample_bicubic2d": _interpolate("cubic"),
    "grid_sampler_2d": grid_sampler_2d, "im2col": im2col, "col2im": col2im,
}  # fmt: skip
