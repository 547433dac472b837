"""Placing: tensors with some of their elements replaced, added to or reduced with others."""

import tensorflow as tf

from catalog.ports.lower_tf.elementwise import cast
from catalog.ports.lower_tf.shape import coordinates, front, index, slice_
from catalog.ports.lower_tf.sizes import rank, shape, size, sizes


def _grid(x, dim, index):
    """Coordinates [.., dims of x] that pick, along ``dim``, the elements ``index`` names."""
    grid = list(tf.meshgrid(*(tf.range(tf.cast(n, tf.int64)) for n in sizes(index)), indexing="ij"))
    index = tf.cast(index, tf.int64)
    grid[dim % rank(x)] = tf.where(index < 0, index + tf.cast(size(x, dim), tf.int64), index)
    return tf.stack(grid, -1)


def _source(x, index, source):
    if not tf.is_tensor(source) or rank(source) == 0:
        return tf.fill(tf.shape(index), cast(source, x.dtype))
    return tf.cast(source[tuple(slice(n) for n in sizes(index))], x.dtype)


def scatter(x, dim, index, source, *, reduce=None):
    grid, source = _grid(x, dim, index), _source(x, index, source)
    if reduce == "multiply":
        return _multiplied(x, grid, source)
    return (tf.tensor_scatter_nd_add if reduce == "add" else tf.tensor_scatter_nd_update)(x, grid, source)


def _multiplied(x, grid, source):
    """TensorFlow has no scatter that multiplies: sums of logarithms would lose signs, so each factor has its own place."""
    count = tf.size(source)
    flat, places = tf.reshape(source, [-1]), tf.reshape(grid, shape([-1, rank(x)]))
    wide = tf.ones(shape([count, *sizes(x)]), x.dtype)
    numbered = tf.concat([tf.range(tf.cast(count, tf.int64))[:, None], places], -1)
    return x * tf.reduce_prod(tf.tensor_scatter_nd_update(wide, numbered, flat), 0)


def scatter_add(x, dim, index, source):
    return tf.tensor_scatter_nd_add(x, _grid(x, dim, index), _source(x, index, source))


def scatter_reduce(x, dim, index, source, reduce, *, include_self=True):
    grid, source = _grid(x, dim, index), _source(x, index, source)
    if not include_self:
        start = {"sum": 0, "mean": 0, "prod": 1, "amax": x.dtype.min, "amin": x.dtype.max}[reduce]
        x = tf.tensor_scatter_nd_update(x, grid, tf.fill(tf.shape(source), cast(start, x.dtype)))
    if reduce == "prod":
        return _multiplied(x, grid, source)
    if reduce in ("amax", "amin"):
        return (tf.tensor_scatter_nd_max if reduce == "amax" else tf.tensor_scatter_nd_min)(x, grid, source)
    out = tf.tensor_scatter_nd_add(x, grid, source)
    if reduce == "mean":
        ones = tf.ones_like(x)
        if not include_self:
            ones = tf.tensor_scatter_nd_update(ones, grid, tf.zeros_like(source))
        out = out / tf.maximum(tf.tensor_scatter_nd_add(ones, grid, tf.ones_like(source)), 1)
    return out


def index_put(x, indices, values, accumulate=False):
    values = tf.cast(values, x.dtype)
    if len(indices) == 1 and indices[0] is not None and indices[0].dtype == tf.bool:
        mask = tf.reshape(indices[0], shape(sizes(indices[0]) + [1] * (rank(x) - rank(indices[0]))))
        return tf.where(mask, x + values if accumulate else values, x)
    picked = [d for d, i in enumerate(indices) if i is not None]
    places = coordinates(x, picked, [indices[d] for d in picked])
    values = tf.broadcast_to(values, tf.shape(index(x, indices)))
    made, start = rank(places) - 1, picked[0]
    if start and picked == list(range(start, start + len(picked))):
        values = tf.transpose(values, [*range(start, start + made), *range(start), *range(start + made, rank(values))])
    order, back = front(rank(x), picked)
    place = tf.tensor_scatter_nd_add if accumulate else tf.tensor_scatter_nd_update
    return tf.transpose(place(tf.transpose(x, order), places, values), back)


def _along(x, dim, index, source, place):
    """Put rows ``source`` at ``index`` along ``dim``."""
    order, back = front(rank(x), [dim % rank(x)])
    rows = tf.transpose(tf.cast(source, x.dtype), order)
    return tf.transpose(place(tf.transpose(x, order), tf.cast(index, tf.int64)[:, None], rows), back)


def index_add(x, dim, index, source, *, alpha=1):
    return _along(x, dim, index, source if alpha == 1 else source * alpha, tf.tensor_scatter_nd_add)


def index_copy(x, dim, index, source):
    return _along(x, dim, index, source, tf.tensor_scatter_nd_update)


def index_fill(x, dim, index, value):
    rows = sizes(x)
    rows[dim] = size(index, 0)
    return index_copy(x, dim, index, tf.fill(shape(rows), cast(value, x.dtype)))


def select_scatter(x, source, dim, index):
    return index_copy(x, dim, tf.constant([index]) % size(x, dim), tf.expand_dims(source, dim))


def slice_scatter(x, source, dim=0, start=None, end=None, step=1):
    places = slice_(tf.range(size(x, dim)), 0, start, end, step)
    return index_copy(x, dim, places, source)


def masked_scatter(x, mask, source):
    mask = tf.broadcast_to(mask, tf.shape(x))
    order = tf.cumsum(tf.cast(tf.reshape(mask, [-1]), tf.int32)) - 1
    picked = tf.gather(tf.reshape(source, [-1]), tf.clip_by_value(order, 0, tf.size(source) - 1))
    return tf.where(mask, tf.reshape(picked, tf.shape(x)), x)


OPS = {
    "scatter": scatter, "scatter_add": scatter_add, "scatter_reduce": scatter_reduce, "index_put": index_put,
    "index_add": index_add, "index_copy": index_copy, "index_fill": index_fill, "select_scatter": select_scatter,
    "slice_scatter": slice_scatter, "masked_scatter": masked_scatter,
}  # fmt: skip
