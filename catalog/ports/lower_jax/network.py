"""What networks are made of: products, norms, embeddings, attention, losses, random numbers."""

import jax
import jax.numpy as jnp
from jax import lax

from catalog.ports.lower_jax.elementwise import dtype_of, real


def linear(x, weight, bias=None):
    y = lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    return y if bias is None else y + bias


def addmm(x, a, b, *, beta=1, alpha=1):
    return beta * x + alpha * (a @ b)


def embedding(weight, ids, padding=-1, scale_by_frequency=False, sparse=False):
    rows = jnp.take(weight, ids, axis=0)  # NaN for an id outside the table, where PyTorch raises
    if padding < 0:
        return rows
    return jnp.where((ids == padding)[..., None], lax.stop_gradient(rows), rows)  # the padding row learns nothing


def _normalise(x, axes, eps):
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    scale = lax.rsqrt(var + eps)
    return (x - mean) * scale, mean, scale


def native_layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    """In fp32 whatever the type of ``x``, as PyTorch does."""
    y, mean, scale = _normalise(x.astype(jnp.float32), tuple(range(x.ndim - len(shape), x.ndim)), eps)
    y = y if weight is None else y * weight
    return [(y if bias is None else y + bias).astype(x.dtype), mean, scale]


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5, cudnn=True):
    return native_layer_norm(x, shape, weight, bias, eps)[0]


def native_group_norm(x, weight, bias, batch, channels, rest, groups, eps):
    wide = x.astype(jnp.float32).reshape(batch, groups, -1)
    y, mean, scale = _normalise(wide, 2, eps)
    y, per_channel = y.reshape(x.shape), (1, channels) + (1,) * (x.ndim - 2)
    y = y if weight is None else y * weight.reshape(per_channel)
    y = y if bias is None else y + bias.reshape(per_channel)
    return [y.astype(x.dtype), mean[..., 0], scale[..., 0]]


def _per_channel(x, value):
    return value.reshape((1, -1) + (1,) * (x.ndim - 2))


def _batch_norm(x, weight, bias, mean, scale):
    y = (x.astype(jnp.float32) - _per_channel(x, mean)) * _per_channel(x, scale)
    y = y if weight is None else y * _per_channel(x, weight)
    return (y if bias is None else y + _per_channel(x, bias)).astype(x.dtype)


def batch_norm_fixed(x, weight, bias, mean, var, momentum, eps):
    return [_batch_norm(x, weight, bias, mean, lax.rsqrt(var + eps)), x[:0], x[:0]]


def batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    """Output, the batch's mean and inverse deviation, and the new running statistics."""
    if not training:
        return [*batch_norm_fixed(x, weight, bias, running_mean, running_var, momentum, eps), running_mean, running_var]
    wide, axes = x.astype(jnp.float32), (0, *range(2, x.ndim))
    mean = jnp.mean(wide, axes)
    var = jnp.mean(jnp.square(wide - _per_channel(x, mean)), axes)
    count = x.size // x.shape[1]
    unbiased = var * (count / max(count - 1, 1))
    moved = [
        old if old is None else (1 - momentum) * old + momentum * lax.stop_gradient(new)
        for old, new in ((running_mean, mean), (running_var, unbiased))
    ]
    scale = lax.rsqrt(var + eps)
    return [_batch_norm(x, weight, bias, mean, scale), mean, scale, *moved]


def batch_norm_without_statistics(x, weight, bias, *rest):
    """Overload without running statistics: (training, momentum, eps)."""
    return batch_norm(x, weight, bias, None, None, True, *rest[-2:])[:3]


def attention(q, k, v, mask=None, dropout=0.0, causal=False, *, scale=None, enable_gqa=False, key=None):
    """softmax(scale q k' + mask) v; q [.., heads, T, d], k and v [.., kv_heads, S, d]; a boolean mask is True where allowed.

    A query that may read nothing gets zeros.
    """
    if enable_gqa and k.shape[-3] != q.shape[-3]:
        groups = q.shape[-3] // k.shape[-3]
        k, v = jnp.repeat(k, groups, -3), jnp.repeat(v, groups, -3)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = jnp.einsum("...td,...sd->...ts", q * jnp.asarray(scale, q.dtype), k)
    if causal:
        mask = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    nothing = None
    if mask is not None and mask.dtype == bool:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
        nothing = None if causal else ~mask.any(-1, keepdims=True)
    elif mask is not None:
        scores = scores + mask
    weights = jax.nn.softmax(scores.astype(jnp.float32), -1).astype(q.dtype)
    if nothing is not None:
        weights = jnp.where(nothing, 0, weights)
    if dropout:
        weights = drop(weights, dropout, key)[0]
    return jnp.einsum("...ts,...sd->...td", weights, v)


def drop(x, rate, key):
    """Elements kept with probability 1 - rate and scaled to keep the mean; and which were kept."""
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x * (0.0 if rate >= 1 else 1 / (1 - rate)), 0).astype(x.dtype), kept


def native_dropout(x, rate, train, *, key):
    return list(drop(x, rate, key))


def _reduced(x, reduction, count=None):
    return x if reduction == 0 else x.sum() / (x.size if count is None else count) if reduction == 1 else x.sum()


def cross_entropy(logits, target, weight=None, reduction=1, ignore=-100, smoothing=0.0):
    """Classes lie in dimension 1 (0 of a vector); targets are class numbers, or probabilities of the logits' shape."""
    axis = 0 if logits.ndim == 1 else 1
    logs = jax.nn.log_softmax(logits, axis)
    per_class = (
        jnp.ones([1] * logits.ndim, logs.dtype)
        if weight is None
        else weight.reshape([-1 if d == axis else 1 for d in range(logits.ndim)])
    )
    if jnp.issubdtype(target.dtype, jnp.floating):
        target = target * (1 - smoothing) + smoothing / logits.shape[axis]
        loss = -(target * logs * per_class).sum(axis)
        return _reduced(loss, reduction, loss.size)
    real_target = target != ignore
    picked = jnp.expand_dims(jnp.where(real_target, target, 0), axis)
    weights = jnp.take_along_axis(jnp.broadcast_to(per_class, logs.shape), picked, axis).squeeze(axis) * real_target
    loss = -jnp.take_along_axis(logs, picked, axis).squeeze(axis) * weights
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing / logits.shape[axis] * (logs * per_class).sum(axis) * real_target
    return _reduced(loss, reduction, weights.sum())


def mse_loss(x, target, reduction=1):
    return _reduced(jnp.square(x - target), reduction)


def binary_cross_entropy(x, target, weight=None, pos_weight=None, reduction=1):
    positive = target if pos_weight is None else target * pos_weight
    loss = -(positive * jax.nn.log_sigmoid(x) + (1 - target) * jax.nn.log_sigmoid(-x))
    return _reduced(loss if weight is None else loss * weight, reduction)


def _scaled(y, count, normalization, forward):
    """PyTorch's normalisation codes: 0 none, 1 by the root of the count, 2 by the count."""
    return y * {0: 1.0, 1: count**-0.5, 2: 1.0 / count}[normalization] * (1 if forward else count)


def _count(x, dims):
    count = 1
    for d in dims:
        count *= x.shape[d]
    return count


def fft_r2c(x, dims, normalization, onesided):
    y = jnp.fft.rfftn(x, axes=dims) if onesided else jnp.fft.fftn(x, axes=dims)
    return _scaled(y, _count(x, dims), normalization, True)


def fft_c2c(x, dims, normalization, forward):
    y = jnp.fft.fftn(x, axes=dims) if forward else jnp.fft.ifftn(x, axes=dims)
    return _scaled(y, _count(x, dims), normalization, forward)


def fft_c2r(x, dims, normalization, size):
    sizes = [x.shape[d] for d in dims[:-1]] + [size]
    y = jnp.fft.irfftn(x, sizes, axes=dims)
    return _scaled(y, _count(y, dims), normalization, False)


def inverse(x, *, check_errors=False):
    return [jnp.linalg.inv(x), jnp.zeros(x.shape[:-2], jnp.int32)]


def bernoulli(x, p=None, *, key):
    return jax.random.bernoulli(key, x if p is None else p, x.shape).astype(x.dtype)


def exponential(x, rate=1.0, *, key):
    return jax.random.exponential(key, x.shape, x.dtype) / rate


def rand(size, *, dtype=None, key):
    return jax.random.uniform(key, size, dtype or jnp.float32)


def randn(size, *, dtype=None, key):
    return jax.random.normal(key, size, dtype or jnp.float32)


def randint(*bounds, dtype=None, key):
    *bounds, size = bounds
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    return jax.random.randint(key, size, low, high, dtype or dtype_of("int64"))


OPS = {
    "linear": linear, "mm": jnp.matmul, "bmm": jnp.matmul, "matmul": jnp.matmul, "addmm": addmm,
    "einsum": lambda equation, xs, path=None: jnp.einsum(equation, *xs), "embedding": embedding, "layer_norm": layer_norm,
    "native_layer_norm": native_layer_norm, "native_group_norm": native_group_norm,
    "_native_batch_norm_legit_no_training": batch_norm_fixed, "_native_batch_norm_legit_functional": batch_norm,
    "_native_batch_norm_legit": batch_norm_without_statistics, "scaled_dot_product_attention": attention,
    "cross_entropy_loss": cross_entropy, "mse_loss": mse_loss, "binary_cross_entropy_with_logits": binary_cross_entropy,
    "_fft_r2c": fft_r2c, "_fft_c2r": fft_c2r, "_fft_c2c": fft_c2c, "linalg_inv_ex": inverse,
    "native_dropout": native_dropout, "bernoulli": bernoulli, "rand": rand, "randn": randn, "randint": randint,
    "exponential": exponential,
}  # fmt: skip

__all__ = ["OPS", "real"]
