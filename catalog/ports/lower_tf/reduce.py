"""Sums, extremes, orders: from many elements to fewer, or along one dimension."""

import tensorflow as tf

from catalog.ports.lower_tf.elementwise import real
from catalog.ports.lower_tf.shape import gather
from catalog.ports.lower_tf.sizes import product, rank, sizes
from catalog.ports.promotion import kind


def _axes(dim):
    return None if dim is None or list([dim] if isinstance(dim, int) else dim) == [] else dim


def _whole(x, dtype):
    """Bools and small whole numbers add up as int64 unless told otherwise."""
    return tf.cast(x, dtype) if dtype is not None else x if kind(x.dtype.name) >= 2 else tf.cast(x, tf.int64)


def sum_(x, dim=None, keepdim=False, *, dtype=None):
    return tf.reduce_sum(_whole(x, dtype), _axes(dim), keepdim)


def mean(x, dim=None, keepdim=False, *, dtype=None):
    return tf.reduce_mean(x if dtype is None else tf.cast(x, dtype), _axes(dim), keepdim)


def prod(x, dim=None, keepdim=False, *, dtype=None):
    return tf.reduce_prod(_whole(x, dtype), _axes(dim), keepdim)


def var(x, dim=None, *, correction=None, keepdim=False):
    axes = _axes(dim)
    lengths = sizes(x)
    picked = range(rank(x)) if axes is None else [axes] if isinstance(axes, int) else axes
    count = tf.cast(product([lengths[d] for d in picked]), x.dtype)
    square = tf.square(x - tf.reduce_mean(x, axes, True))
    return tf.reduce_sum(square, axes, keepdim) / (count - (1 if correction is None else correction))


def std(x, dim=None, *, correction=None, keepdim=False):
    return tf.sqrt(var(x, dim, correction=correction, keepdim=keepdim))


def _extreme(function):
    return lambda x, dim=(), keepdim=False: function(x, _axes(dim), keepdim)


def _with_index(function):
    def apply(x, dim, keepdim=False):
        index = tf.expand_dims(function(x, dim), dim)
        value = gather(x, dim, index)
        return [value, index] if keepdim else [tf.squeeze(value, dim), tf.squeeze(index, dim)]

    return apply


def _index(function):
    def apply(x, dim=None, keepdim=False):
        if dim is None:
            index = function(tf.reshape(x, [-1]), 0)
            return tf.reshape(index, [1] * rank(x)) if keepdim else index
        index = function(x, dim)
        return tf.expand_dims(index, dim) if keepdim else index

    return apply


def _truth(function):
    return lambda x, dim=None, keepdim=False: function(tf.cast(x, tf.bool), _axes(dim), keepdim)


def cumsum(x, dim, *, dtype=None):
    return tf.cumsum(_whole(x, dtype), dim)


def cumprod(x, dim, *, dtype=None):
    return tf.math.cumprod(_whole(x, dtype), dim)


def logsumexp(x, dim, keepdim=False):
    return tf.reduce_logsumexp(x, _axes(dim), keepdim)


def vector_norm(x, order=2, dim=None, keepdim=False, *, dtype=None):
    x = tf.abs(real(x if dtype is None else tf.cast(x, dtype)))
    axes = _axes(dim)
    if order == 0:
        return tf.reduce_sum(tf.cast(x != 0, x.dtype), axes, keepdim)
    if order in (float("inf"), float("-inf")):
        return (tf.reduce_max if order > 0 else tf.reduce_min)(x, axes, keepdim)
    if order == 1:
        return tf.reduce_sum(x, axes, keepdim)
    total = tf.reduce_sum(x * x if order == 2 else x**order, axes, keepdim)
    nothing = total == 0  # the root has no slope there; PyTorch's gradient is zero
    root = tf.where(nothing, tf.ones_like(total), total) ** (1 / order)
    return tf.where(nothing, tf.zeros_like(total), root)


def sort(x, dim=-1, descending=False, *, stable=False):
    order = tf.argsort(x, dim, "DESCENDING" if descending else "ASCENDING", stable=True)
    return [gather(x, dim, order), tf.cast(order, tf.int64)]


def topk(x, k, dim=-1, largest=True, sorted=True):
    last = [d for d in range(rank(x)) if d != dim % rank(x)] + [dim % rank(x)]
    back = [last.index(d) for d in range(rank(x))]
    moved = tf.transpose(x, last)
    order = tf.math.top_k(tf.stop_gradient(moved if largest else -moved), k)[1]
    return [tf.transpose(gather(moved, -1, order), back), tf.cast(tf.transpose(order, back), tf.int64)]


def softmax(x, dim, dtype=None):
    return tf.nn.softmax(x if dtype is None else tf.cast(x, dtype), dim)


def log_softmax(x, dim, dtype=None):
    return tf.nn.log_softmax(x if dtype is None else tf.cast(x, dtype), dim)


def _arg(function):
    return lambda x, dim: function(tf.cast(x, tf.int32) if x.dtype == tf.bool else x, dim)


OPS = {
    "sum": sum_, "mean": mean, "prod": prod, "var": var, "std": std, "amax": _extreme(tf.reduce_max),
    "amin": _extreme(tf.reduce_min), "max.dim": _with_index(_arg(tf.argmax)), "min.dim": _with_index(_arg(tf.argmin)),
    "argmax": _index(_arg(tf.argmax)), "argmin": _index(_arg(tf.argmin)), "all": _truth(tf.reduce_all),
    "any": _truth(tf.reduce_any), "cumsum": cumsum, "cumprod": cumprod, "logsumexp": logsumexp,
    "linalg_vector_norm": vector_norm, "sort": sort, "topk": topk, "softmax": softmax, "log_softmax": log_softmax,
}  # fmt: skip
