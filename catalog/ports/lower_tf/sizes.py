"""Sizes that may be unknown: Python integers where they are known, scalar tensors where not."""

import tensorflow as tf


def size(x, dim: int):
    """One dimension of ``x``."""
    known = x.shape[dim]
    return tf.shape(x)[dim] if known is None else known


def sizes(x) -> list:
    """All dimensions of ``x``."""
    if x.shape.is_fully_defined():
        return x.shape.as_list()
    unknown = tf.shape(x)
    return [unknown[d] if n is None else n for d, n in enumerate(x.shape)]


def rank(x) -> int:
    """How many dimensions ``x`` has; that is always known."""
    return x.shape.rank


def shape(dims):
    """A list of sizes as TensorFlow takes it."""
    dims = list(dims)
    return dims if all(isinstance(d, int) for d in dims) else tf.stack([tf.cast(d, tf.int32) for d in dims])


def product(dims):
    """The product of sizes."""
    count = 1
    for d in dims:
        count = count * d
    return count
