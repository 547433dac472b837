"""Other shapes, other orders, picking; and tensors made from nothing."""

import numpy as np
import tensorflow as tf

from catalog.ports.lower_tf.elementwise import cast
from catalog.ports.lower_tf.sizes import rank, shape, size, sizes


def view(x, dims):
    if isinstance(dims, tf.DType):  # view.dtype: the same bits read as another type
        return tf.bitcast(x, dims)
    return tf.reshape(x, shape(dims))


def squeeze(x, dims=None):
    dims = range(rank(x)) if dims is None else [dims] if isinstance(dims, int) else dims
    axes = sorted({d % rank(x) for d in dims if rank(x) and x.shape[d] == 1})
    return tf.squeeze(x, axes) if axes else x


def permute(x, dims):
    return tf.transpose(x, [d % rank(x) for d in dims])  # the gradient of tf.transpose knows no negative ones


def expand(x, dims, *, implicit=False):
    lead, own = len(dims) - rank(x), sizes(x)
    return tf.broadcast_to(x, shape(own[d - lead] if isinstance(n, int) and n == -1 else n for d, n in enumerate(dims)))


def cat(xs, dim=0):
    return tf.concat([x for x in xs if x.shape != (0,)], dim)  # PyTorch lets a legacy empty tensor pass


def split_with_sizes(x, parts, dim=0):
    return tf.split(x, shape(parts), dim)


def split(x, part, dim=0):
    if isinstance(part, (list, tuple)):
        return split_with_sizes(x, part, dim)
    whole = x.shape[dim]
    return tf.split(x, [min(part, whole - i) for i in range(0, whole, part)], dim)


def at(x, dim, index):
    """The index that applies ``index`` to dimension ``dim``."""
    return (slice(None),) * (dim % rank(x)) + (index,)


def select(x, dim, index):
    return x[at(x, dim, index)]


def slice_(x, dim=0, start=None, end=None, step=1):
    end = None if isinstance(end, int) and end >= 2**31 - 1 else end  # PyTorch's "to the end"
    return x[at(x, dim, slice(start, end, step))]


def front(dims, picked):
    """Orders of axes that bring the ``picked`` ones to the front, and back."""
    order = [*picked, *(d for d in range(dims) if d not in picked)]
    return order, [order.index(d) for d in range(dims)]


def coordinates(x, picked, indices):
    """Index tensors broadcast together as coordinates [.., len(picked)] into the ``picked`` axes; negative ones resolved."""
    whole = [tf.cast(i, tf.int64) for i in indices]
    for i in range(len(whole)):
        length = tf.cast(size(x, picked[i]), tf.int64)
        whole[i] = tf.where(whole[i] < 0, whole[i] + length, whole[i])
    if len(whole) > 1:
        common = whole[0]
        for one in whole[1:]:
            common = common + one
        whole = [tf.broadcast_to(one, tf.shape(common)) for one in whole]
    return tf.stack(whole, -1)


def index(x, indices):
    picked = [d for d, i in enumerate(indices) if i is not None]
    places = coordinates(x, picked, [indices[d] for d in picked])
    if len(picked) == 1:
        return tf.gather(x, places[..., 0], axis=picked[0])
    found = tf.gather_nd(tf.transpose(x, front(rank(x), picked)[0]), places)
    made, start = rank(places) - 1, picked[0]
    if start == 0 or picked != list(range(start, start + len(picked))):
        return found
    order = [*range(made, made + start), *range(made), *range(made + start, rank(found))]
    return tf.transpose(found, order)


def gather(x, dim, index, *, sparse_grad=False):
    if rank(x) == 0:
        return tf.broadcast_to(x, tf.shape(index))
    dim %= rank(x)
    last, back = [d for d in range(rank(x)) if d != dim] + [dim], list(range(rank(x)))
    back.insert(dim, back.pop())
    x, index = tf.transpose(x, last), tf.transpose(index, last)
    lead = tuple(slice(n) for n in sizes(index)[:-1])
    return tf.transpose(tf.gather(x[lead], index, axis=rank(x) - 1, batch_dims=rank(x) - 1), back)


def index_select(x, dim, index):
    return tf.gather(x, index, axis=dim)


def repeat(x, repeats):
    x = tf.reshape(x, shape([1] * (len(repeats) - rank(x)) + sizes(x)))
    return tf.tile(x, shape(repeats))


def repeat_interleave(x, repeats, dim=None, *, output_size=None):
    return tf.repeat(tf.reshape(x, [-1]) if dim is None else x, repeats, 0 if dim is None else dim)


def roll(x, shifts, dims=()):
    return tf.roll(x, shifts, dims) if dims else tf.reshape(tf.roll(tf.reshape(x, [-1]), shifts[0], 0), shape(sizes(x)))


def as_strided(x, dims, stride, offset=None):
    places = tf.constant(offset or 0, tf.int64)
    for d, (n, s) in enumerate(zip(dims, stride)):
        steps = tf.range(tf.cast(n, tf.int64)) * tf.cast(s, tf.int64)
        places = places + tf.reshape(steps, [-1] + [1] * (len(dims) - d - 1))
    return tf.gather(tf.reshape(x, [-1]), places)


def constant_pad_nd(x, pad, value=0):
    pairs = list(zip(pad[-2::-2], pad[::-2]))
    lead = rank(x) - len(pairs)
    for d, (before, behind) in enumerate(pairs):  # less than nothing cuts off
        if any(isinstance(n, int) and n < 0 for n in (before, behind)):
            cut = slice(max(-before, 0), behind if behind < 0 else None)
            x, pairs[d] = x[at(x, lead + d, cut)], (max(before, 0), max(behind, 0))
    widths = tf.stack([shape(pair) for pair in [(0, 0)] * lead + pairs])
    return tf.pad(x, widths, constant_values=cast(value, x.dtype))


def reflection_pad(x, widths):
    pairs = list(zip(widths[-2::-2], widths[::-2]))
    return tf.pad(x, [(0, 0)] * (rank(x) - len(pairs)) + pairs, "REFLECT")


def replication_pad(x, widths):
    pairs = list(zip(widths[-2::-2], widths[::-2]))
    for d, (before, behind) in enumerate(pairs, rank(x) - len(pairs)):
        first, last = x[at(x, d, slice(0, 1))], x[at(x, d, slice(-1, None))]
        x = tf.concat([first] * before + [x] + [last] * behind, d)
    return x


def pixel_shuffle(x, factor):
    *lead, c, h, w = sizes(x)
    n = len(lead)
    x = tf.reshape(x, shape([*lead, c // factor**2, factor, factor, h, w]))
    x = tf.transpose(x, [*range(n + 1), n + 3, n + 1, n + 4, n + 2])
    return tf.reshape(x, shape([*lead, c // factor**2, h * factor, w * factor]))


def _triangle(keep):
    def apply(x, diagonal=0):
        rows, columns = tf.range(size(x, -2))[:, None], tf.range(size(x, -1))[None]
        return tf.where(keep(columns - rows, diagonal), x, tf.zeros_like(x))

    return apply


def diagonal(x, offset=0, dim1=0, dim2=1):
    rest = [d for d in range(rank(x)) if d not in (dim1 % rank(x), dim2 % rank(x))]
    return tf.linalg.diag_part(tf.transpose(x, [*rest, dim1 % rank(x), dim2 % rank(x)]), k=offset)


def unfold(x, dim, width, step):
    dim %= rank(x)
    starts = tf.range(0, size(x, dim) - width + 1, step)
    windows = tf.gather(x, starts[:, None] + np.arange(width, dtype=np.int32), axis=dim)
    order = list(range(rank(windows)))
    order.append(order.pop(dim + 1))
    return tf.transpose(windows, order)


def full(dims, value, *, dtype=None):
    if dtype is None:
        dtype = value.dtype if tf.is_tensor(value) else {bool: tf.bool, int: tf.int64}.get(type(value), tf.float32)
    return tf.fill(shape(dims), cast(value, dtype))


def full_like(x, value, *, dtype=None):
    return tf.fill(shape(sizes(x)), cast(value, dtype or x.dtype))


def arange(*bounds, dtype=None):
    real = any(isinstance(b, float) for b in bounds)
    made = tf.range(*(cast(b, tf.float32 if real else tf.int64) for b in bounds))
    return tf.cast(made, dtype) if dtype is not None else made


def scalar_tensor(value, *, dtype=None):
    return cast(value, dtype or tf.float32)


def empty(dims, *, dtype=None):
    return tf.zeros(shape(dims), dtype or tf.float32)


def copy(x, source, non_blocking=False):
    return tf.cast(tf.broadcast_to(source, tf.shape(x)), x.dtype)


OPS = {
    "view": view, "squeeze": squeeze, "unsqueeze": tf.expand_dims, "expand": expand, "permute": permute, "cat": cat,
    "stack": lambda xs, dim=0: tf.stack(xs, dim), "split_with_sizes": split_with_sizes, "split": split,
    "unbind": lambda x, dim=0: tf.unstack(x, axis=dim), "select": select, "slice": slice_, "index": index,
    "gather": gather, "index_select": index_select, "repeat": repeat, "repeat_interleave": repeat_interleave,
    "roll": roll, "flip": tf.reverse, "as_strided": as_strided, "constant_pad_nd": constant_pad_nd,
    "reflection_pad1d": reflection_pad, "reflection_pad2d": reflection_pad, "replication_pad1d": replication_pad,
    "replication_pad2d": replication_pad, "pixel_shuffle": pixel_shuffle,
    "tril": _triangle(lambda ahead, diagonal: ahead <= diagonal), "triu": _triangle(lambda ahead, diagonal: ahead >= diagonal),
    "diagonal": diagonal, "unfold": unfold, "full": full, "full_like": full_like, "arange": arange,
    "scalar_tensor": scalar_tensor, "empty": empty, "copy": copy,
}  # fmt: skip
