"""Random numbers of a page and of its port: made alike in both, so that what follows compares, or watched as they are used."""

from contextlib import contextmanager
from importlib import import_module

import pytest
import torch
from torch.nn import functional as F

_NETWORK = {"flax": "catalog.ports.lower_jax.network", "tf": "catalog.ports.lower_tf.network"}
_TABLE = {"flax": "catalog.ports.lower_jax", "tf": "catalog.ports.lower_tf"}


def _numbers(count):
    """Numbers in (0, 1) by whole-number arithmetic, the same bits everywhere: 10007 different ones."""
    return (count * 3571 + 11) % 10007


def _torch(tensor):
    return ((_numbers(torch.arange(tensor.numel())) + 0.5) / 10007).reshape(tensor.shape).to(tensor.dtype)


def _flax(shape, dtype):
    import jax.numpy as jnp

    count = int(torch.Size(shape).numel())
    return ((_numbers(jnp.arange(count)) + 0.5) / 10007).reshape(shape).astype(dtype)


def _tf(shape, dtype):
    import tensorflow as tf

    count = tf.range(tf.reduce_prod(shape))
    return tf.reshape(tf.cast((tf.cast(_numbers(count), tf.float32) + 0.5) / 10007, dtype), shape)


@contextmanager
def alike(framework):
    """Uniform and exponential draws are one fixed row of numbers, in PyTorch and in the table of ``framework``."""
    table = import_module(_TABLE[framework]).TABLE
    with pytest.MonkeyPatch.context() as patch:
        rand = torch.rand
        patch.setattr(torch, "rand", lambda *shape, **more: _torch(rand(*shape, **more)))
        patch.setattr(torch.Tensor, "exponential_", lambda x, rate=1.0: x.copy_(_torch(x) + 0.1))
        if framework == "flax":
            import jax.numpy as jnp

            patch.setitem(table, "rand", lambda size, *, dtype=None, key: _flax(size, dtype or jnp.float32))
            patch.setitem(table, "exponential", lambda x, rate=1.0, *, key: _flax(x.shape, x.dtype) + 0.1)
        else:
            import tensorflow as tf

            from catalog.ports.lower_tf.sizes import shape

            patch.setitem(table, "rand", lambda dims, *, dtype=None, key: _tf(shape(dims), dtype or tf.float32))
            patch.setitem(table, "exponential", lambda x, rate=1.0, *, key: _tf(tf.shape(x), x.dtype) + 0.1)
        yield


@contextmanager
def dropouts_of_page():
    """Every dropout that PyTorch does meanwhile: a list of (rate, elements); of attention, the elements are its weights."""
    found, drop, attend = [], F.dropout, F.scaled_dot_product_attention

    def dropout(x, p=0.5, training=True, inplace=False):
        if training and p:
            found.append((p, x.numel()))
        return drop(x, p, training, inplace)

    def attention(q, k, v, mask=None, p=0.0, *more, **named):
        if p:
            found.append((p, q[..., 0].numel() * k.shape[-2]))
        return attend(q, k, v, mask, p, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "dropout", dropout)
        patch.setattr(F, "scaled_dot_product_attention", attention)
        yield found


@contextmanager
def dropouts_of_port(framework):
    """Every dropout that the lowerings of ``framework`` do meanwhile: a list of (rate, before, after, which are kept)."""
    network = import_module(_NETWORK[framework])
    found, drop = [], network.drop

    def dropout(x, rate, key):
        after, kept = drop(x, rate, key)
        found.append((rate, x, after, kept))
        return after, kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "drop", dropout)
        yield found
