"""Sums, extremes, orders: from many elements to fewer, or along one dimension."""

import jax
import jax.numpy as jnp
from jax import lax

from catalog.ports.lower_jax.elementwise import dtype_of, real
from catalog.ports.promotion import kind


def _axes(dim):
    return None if dim is None or dim == [] else tuple(dim) if isinstance(dim, (list, tuple)) else dim


def _whole(x, dtype):
    """Bools and small whole numbers add up as int64 unless told otherwise."""
    return x.astype(dtype) if dtype is not None else x if kind(str(x.dtype)) >= 2 else x.astype(dtype_of("int64"))


def sum_(x, dim=None, keepdim=False, *, dtype=None):
    return jnp.sum(_whole(x, dtype), _axes(dim), keepdims=keepdim)


def mean(x, dim=None, keepdim=False, *, dtype=None):
    return jnp.mean(x if dtype is None else x.astype(dtype), _axes(dim), keepdims=keepdim)


def prod(x, dim=None, keepdim=False, *, dtype=None):
    return jnp.prod(_whole(x, dtype), _axes(dim), keepdims=keepdim)


def var(x, dim=None, *, correction=None, keepdim=False):
    return jnp.var(x, _axes(dim), ddof=1 if correction is None else correction, keepdims=keepdim)


def std(x, dim=None, *, correction=None, keepdim=False):
    return jnp.sqrt(var(x, dim, correction=correction, keepdim=keepdim))


def _extreme(function):
    return lambda x, dim=(), keepdim=False: function(
        x, _axes(list(dim) if isinstance(dim, tuple) else dim), keepdims=keepdim
    )


def _with_index(function):
    def apply(x, dim, keepdim=False):
        index = jnp.expand_dims(function(x, dim), dim)
        value = jnp.take_along_axis(x, index, dim)
        return [value, index] if keepdim else [value.squeeze(dim), index.squeeze(dim)]

    return apply


def _index(function):
    return lambda x, dim=None, keepdim=False: function(x, dim, keepdims=keepdim)


def _truth(function):
    return lambda x, dim=None, keepdim=False: function(x, _axes(dim), keepdims=keepdim)


def cumsum(x, dim, *, dtype=None):
    return jnp.cumsum(_whole(x, dtype), dim)


def cumprod(x, dim, *, dtype=None):
    return jnp.cumprod(_whole(x, dtype), dim)


def logsumexp(x, dim, keepdim=False):
    return jax.nn.logsumexp(x, _axes(dim), keepdims=keepdim)


def vector_norm(x, order=2, dim=None, keepdim=False, *, dtype=None):
    x = jnp.abs(real(x if dtype is None else x.astype(dtype)))
    axes = _axes(dim)
    if order == 0:
        return jnp.sum(x != 0, axes, keepdims=keepdim).astype(x.dtype)
    if order in (float("inf"), float("-inf")):
        return (jnp.max if order > 0 else jnp.min)(x, axes, keepdims=keepdim)
    if order == 1:
        return jnp.sum(x, axes, keepdims=keepdim)
    total = jnp.sum(x**order, axes, keepdims=keepdim)
    nothing = total == 0  # the root has no slope there; PyTorch's gradient is zero
    return jnp.where(nothing, 0.0, jnp.where(nothing, 1.0, total) ** (1 / order)).astype(x.dtype)


def sort(x, dim=-1, descending=False, *, stable=False):
    order = jnp.argsort(x, axis=dim, descending=descending, stable=True)
    return [jnp.take_along_axis(x, order, dim), order]


def topk(x, k, dim=-1, largest=True, sorted=True):
    moved = jnp.moveaxis(x, dim, -1)
    order = lax.top_k(lax.stop_gradient(moved if largest else -moved), k)[1]
    value = jnp.take_along_axis(moved, order, -1)
    return [jnp.moveaxis(value, -1, dim), jnp.moveaxis(order, -1, dim)]


def softmax(x, dim, dtype=None):
    return jax.nn.softmax(x if dtype is None else x.astype(dtype), axis=dim)


def log_softmax(x, dim, dtype=None):
    return jax.nn.log_softmax(x if dtype is None else x.astype(dtype), axis=dim)


OPS = {
    "sum": sum_, "mean": mean, "prod": prod, "var": var, "std": std, "amax": _extreme(jnp.max), "amin": _extreme(jnp.min),
    "max.dim": _with_index(jnp.argmax), "min.dim": _with_index(jnp.argmin), "argmax": _index(jnp.argmax),
    "argmin": _index(jnp.argmin), "all": _truth(jnp.all), "any": _truth(jnp.any), "cumsum": cumsum, "cumprod": cumprod,
    "logsumexp": logsumexp, "linalg_vector_norm": vector_norm, "sort": sort, "topk": topk, "softmax": softmax,
    "log_softmax": log_softmax,
}  # fmt: skip
