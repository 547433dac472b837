"""Other shapes, other orders, picking and placing; and arrays made from nothing."""

import itertools

import jax.numpy as jnp
import numpy as np
from jax import lax

from catalog.ports.lower_jax.elementwise import dtype_of


def view(x, shape):
    if not isinstance(shape, (list, tuple)):  # view.dtype: the same bits read as another type
        return lax.bitcast_convert_type(x, shape)
    return jnp.reshape(x, shape)


def squeeze(x, dims=None):
    dims = range(x.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    return jnp.squeeze(x, tuple({d % x.ndim for d in dims if x.ndim and x.shape[d] == 1}))


def expand(x, sizes, *, implicit=False):
    lead = len(sizes) - x.ndim
    return jnp.broadcast_to(x, [x.shape[d - lead] if n == -1 else n for d, n in enumerate(sizes)])


def permute(x, dims):
    return jnp.transpose(x, dims)


def cat(xs, dim=0):
    xs = [x for x in xs if x.shape != (0,)]  # PyTorch lets a legacy empty tensor pass
    return jnp.concatenate(xs, dim)


def split_with_sizes(x, sizes, dim=0):
    return [lax.slice_in_dim(x, end - n, end, axis=dim) for n, end in zip(sizes, itertools.accumulate(sizes))]


def split(x, size, dim=0):
    if isinstance(size, (list, tuple)):
        return split_with_sizes(x, size, dim)
    return [lax.slice_in_dim(x, i, min(i + size, x.shape[dim]), axis=dim) for i in range(0, x.shape[dim], size)]


def unbind(x, dim=0):
    return [select(x, dim, i) for i in range(x.shape[dim])]


def select(x, dim, index):
    return lax.index_in_dim(x, index, dim, keepdims=False)


def _at(x, dim, index):
    return (slice(None),) * (dim % x.ndim) + (index,)


def slice_(x, dim=0, start=None, end=None, step=1):
    return x[_at(x, dim, slice(start, end, step))]


def _indices(indices):
    return tuple(slice(None) if i is None else i for i in indices)


def index(x, indices):
    return x[_indices(indices)]


def index_put(x, indices, values, accumulate=False):
    values = values.astype(x.dtype)
    if len(indices) == 1 and indices[0] is not None and indices[0].dtype == bool:
        mask = indices[0].reshape(indices[0].shape + (1,) * (x.ndim - indices[0].ndim))
        return jnp.where(mask, x + values if accumulate else values, x)
    place = x.at[_indices(indices)]
    return place.add(values) if accumulate else place.set(values)


def gather(x, dim, index, *, sparse_grad=False):
    if x.ndim == 0:
        return jnp.broadcast_to(x, index.shape)
    dim %= x.ndim
    x = x[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape))]
    return jnp.take_along_axis(x, index, dim)


def index_select(x, dim, index):
    return jnp.take(x, index, axis=dim)


def _grid(x, dim, index):
    """Open index arrays that pick, along ``dim``, the elements ``index`` names."""
    grid = list(jnp.ogrid[tuple(slice(n) for n in index.shape)])
    grid[dim % x.ndim] = index
    return tuple(grid)


def _source(x, index, source):
    if not hasattr(source, "ndim") or source.ndim == 0:
        return jnp.asarray(source, x.dtype)
    return source[tuple(slice(n) for n in index.shape)].astype(x.dtype)


def scatter(x, dim, index, source, *, reduce=None):
    place, source = x.at[_grid(x, dim, index)], _source(x, index, source)
    return (
        place.add(source) if reduce == "add" else place.multiply(source) if reduce == "multiply" else place.set(source)
    )


def scatter_add(x, dim, index, source):
    return x.at[_grid(x, dim, index)].add(_source(x, index, source))


def scatter_reduce(x, dim, index, source, reduce, *, include_self=True):
    grid, source = _grid(x, dim, index), _source(x, index, source)
    start = {"sum": 0, "mean": 0, "prod": 1, "amax": -jnp.inf, "amin": jnp.inf}[reduce]
    base = x if include_self else x.at[grid].set(jnp.asarray(start, x.dtype))
    method = {"sum": "add", "mean": "add", "prod": "multiply", "amax": "max", "amin": "min"}[reduce]
    out = getattr(base.at[grid], method)(source)
    if reduce == "mean":
        count = (jnp.ones_like(x) if include_self else jnp.ones_like(x).at[grid].set(0)).at[grid].add(1)
        out = out / jnp.maximum(count, 1)
    return out


def index_add(x, dim, index, source, *, alpha=1):
    return x.at[_at(x, dim, index)].add((source * alpha).astype(x.dtype))


def index_copy(x, dim, index, source):
    return x.at[_at(x, dim, index)].set(source)


def index_fill(x, dim, index, value):
    return x.at[_at(x, dim, index)].set(jnp.asarray(value, x.dtype))


def select_scatter(x, source, dim, index):
    return x.at[_at(x, dim, index)].set(source)


def slice_scatter(x, source, dim=0, start=None, end=None, step=1):
    return x.at[_at(x, dim, slice(start, end, step))].set(source)


def masked_scatter(x, mask, source):
    mask = jnp.broadcast_to(mask, x.shape)
    order = jnp.cumsum(mask.reshape(-1)) - 1
    return jnp.where(mask, jnp.take(source.reshape(-1), order.reshape(x.shape), mode="clip"), x)


def repeat(x, repeats):
    return jnp.tile(x, repeats)


def repeat_interleave(x, repeats, dim=None, *, output_size=None):
    return jnp.repeat(x.reshape(-1) if dim is None else x, repeats, 0 if dim is None else dim)


def roll(x, shifts, dims=()):
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x.reshape(-1), shifts[0]).reshape(x.shape)


def as_strided(x, size, stride, offset=None):
    places = (offset or 0) + sum(
        np.arange(n).reshape([-1] + [1] * (len(size) - d - 1)) * s for d, (n, s) in enumerate(zip(size, stride))
    )
    return x.reshape(-1)[places]


def constant_pad_nd(x, pad, value=0):
    widths = [(0, 0, 0)] * (x.ndim - len(pad) // 2) + [(a, b, 0) for a, b in zip(pad[-2::-2], pad[::-2])]
    return lax.pad(x, jnp.asarray(value, x.dtype), widths)


def _pad(mode):
    def pad(x, widths):
        pairs = list(zip(widths[-2::-2], widths[::-2]))
        return jnp.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, mode=mode)

    return pad


def pixel_shuffle(x, factor):
    *lead, c, h, w = x.shape
    x = x.reshape(*lead, c // factor**2, factor, factor, h, w)
    n = len(lead)
    return x.transpose(*range(n + 1), n + 3, n + 1, n + 4, n + 2).reshape(*lead, c // factor**2, h * factor, w * factor)


def unfold(x, dim, size, step):
    dim %= x.ndim
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    windows = x[_at(x, dim, starts[:, None] + np.arange(size))]
    return jnp.moveaxis(windows, dim + 1, -1)


def full(size, value, *, dtype=None):
    if dtype is None and not hasattr(value, "dtype"):
        dtype = bool if isinstance(value, bool) else dtype_of("int64" if isinstance(value, int) else "float32")
    return jnp.full(size, value, dtype)


def full_like(x, value, *, dtype=None):
    return jnp.full(x.shape, value, dtype or x.dtype)


def arange(*bounds, dtype=None):
    if dtype is None:
        dtype = dtype_of("float32" if any(isinstance(b, float) for b in bounds) else "int64")
    return jnp.arange(*bounds).astype(dtype)


def scalar_tensor(value, *, dtype=None):
    return jnp.asarray(value, dtype or jnp.float32)


def empty(size, *, dtype=None):
    return jnp.zeros(size, dtype or jnp.float32)


def copy(x, source, non_blocking=False):
    return jnp.broadcast_to(source, x.shape).astype(x.dtype)


OPS = {
    "view": view, "squeeze": squeeze, "unsqueeze": jnp.expand_dims, "expand": expand, "permute": permute, "cat": cat,
    "stack": lambda xs, dim=0: jnp.stack(xs, dim), "split_with_sizes": split_with_sizes, "split": split, "unbind": unbind,
    "select": select, "slice": slice_, "index": index, "gather": gather, "index_select": index_select, "scatter": scatter,
    "scatter_add": scatter_add, "scatter_reduce": scatter_reduce, "index_put": index_put, "index_add": index_add,
    "index_copy": index_copy, "index_fill": index_fill, "select_scatter": select_scatter, "slice_scatter": slice_scatter,
    "masked_scatter": masked_scatter, "repeat": repeat, "repeat_interleave": repeat_interleave, "roll": roll,
    "flip": lambda x, dims: jnp.flip(x, tuple(dims)), "as_strided": as_strided, "constant_pad_nd": constant_pad_nd,
    "reflection_pad1d": _pad("reflect"), "reflection_pad2d": _pad("reflect"), "replication_pad1d": _pad("edge"),
    "replication_pad2d": _pad("edge"), "pixel_shuffle": pixel_shuffle, "tril": lambda x, diagonal=0: jnp.tril(x, diagonal),
    "triu": lambda x, diagonal=0: jnp.triu(x, diagonal),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: jnp.diagonal(x, offset, dim1, dim2), "unfold": unfold, "full": full,
    "full_like": full_like, "arange": arange, "scalar_tensor": scalar_tensor, "empty": empty, "copy": copy,
}  # fmt: skip
