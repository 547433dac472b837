"""What networks are made of: products, norms, embeddings, attention, losses, random numbers."""

import tensorflow as tf

from catalog.ports.lower_tf.sizes import product, rank, shape, size, sizes


def linear(x, weight, bias=None):
    rows = x if rank(x) == 2 else tf.reshape(x, shape([-1, size(x, -1)]))
    y = tf.matmul(rows, weight, transpose_b=True)
    y = y if bias is None else y + bias
    return y if rank(x) == 2 else tf.reshape(y, shape([*sizes(x)[:-1], size(weight, 0)]))


def matmul(a, b):
    if rank(a) == 1 or rank(b) == 1:
        y = tf.matmul(a[None] if rank(a) == 1 else a, b[:, None] if rank(b) == 1 else b)
        y = tf.squeeze(y, -2) if rank(a) == 1 else y
        return tf.squeeze(y, -1) if rank(b) == 1 else y
    return tf.matmul(a, b)


def addmm(x, a, b, *, beta=1, alpha=1):
    return beta * x + alpha * tf.matmul(a, b)


def embedding(weight, ids, padding=-1, scale_by_frequency=False, sparse=False):
    rows = tf.gather(weight, ids)
    if padding < 0:
        return rows
    return tf.where((ids == padding)[..., None], tf.stop_gradient(rows), rows)  # the padding row learns nothing


def _normalise(x, axes, eps):
    mean = tf.reduce_mean(x, axes, True)
    var = tf.reduce_mean(tf.square(x - mean), axes, True)
    scale = tf.math.rsqrt(var + eps)
    return (x - mean) * scale, mean, scale


def native_layer_norm(x, dims, weight=None, bias=None, eps=1e-5):
    """In fp32 whatever the type of ``x``, as PyTorch does."""
    y, mean, scale = _normalise(tf.cast(x, tf.float32), list(range(rank(x) - len(dims), rank(x))), eps)
    y = y if weight is None else y * tf.cast(weight, y.dtype)
    y = y if bias is None else y + tf.cast(bias, y.dtype)
    return [tf.cast(y, x.dtype), mean, scale]


def layer_norm(x, dims, weight=None, bias=None, eps=1e-5, cudnn=True):
    return native_layer_norm(x, dims, weight, bias, eps)[0]


def native_group_norm(x, weight, bias, batch, channels, rest, groups, eps):
    wide = tf.reshape(tf.cast(x, tf.float32), shape([batch, groups, product(sizes(x)[1:]) // groups]))
    y, mean, scale = _normalise(wide, 2, eps)
    y = tf.reshape(y, shape(sizes(x)))
    y = y if weight is None else y * _per_channel(x, weight)
    y = y if bias is None else y + _per_channel(x, bias)
    return [tf.cast(y, x.dtype), mean[..., 0], scale[..., 0]]


def _per_channel(x, value):
    return tf.reshape(tf.cast(value, tf.float32), [1, -1] + [1] * (rank(x) - 2))


def _batch_norm(x, weight, bias, mean, scale):
    y = (tf.cast(x, tf.float32) - _per_channel(x, mean)) * _per_channel(x, scale)
    y = y if weight is None else y * _per_channel(x, weight)
    return tf.cast(y if bias is None else y + _per_channel(x, bias), x.dtype)


def batch_norm_fixed(x, weight, bias, mean, var, momentum, eps):
    return [_batch_norm(x, weight, bias, mean, tf.math.rsqrt(var + eps)), x[:0], x[:0]]


def batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    """Output, the batch's mean and inverse deviation, and the new running statistics."""
    if not training:
        return [*batch_norm_fixed(x, weight, bias, running_mean, running_var, momentum, eps), running_mean, running_var]
    wide, axes = tf.cast(x, tf.float32), [0, *range(2, rank(x))]
    mean = tf.reduce_mean(wide, axes)
    var = tf.reduce_mean(tf.square(wide - _per_channel(x, mean)), axes)
    count = tf.cast(tf.size(x) // size(x, 1), tf.float32)
    unbiased = var * (count / tf.maximum(count - 1, 1))
    moved = [
        old if old is None else (1 - momentum) * old + momentum * tf.cast(tf.stop_gradient(new), old.dtype)
        for old, new in ((running_mean, mean), (running_var, unbiased))
    ]
    scale = tf.math.rsqrt(var + eps)
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
        k, v = tf.repeat(k, groups, -3), tf.repeat(v, groups, -3)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = tf.matmul(q * tf.cast(scale, q.dtype), k, transpose_b=True)
    if causal:
        mask = tf.range(size(scores, -2))[:, None] >= tf.range(size(scores, -1))[None]
    nothing = None
    if mask is not None and mask.dtype == tf.bool:
        scores = tf.where(mask, scores, tf.constant(scores.dtype.min, scores.dtype))
        nothing = None if causal else tf.logical_not(tf.reduce_any(mask, -1, True))
    elif mask is not None:
        scores = scores + mask
    weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32), -1), q.dtype)
    if nothing is not None:
        weights = tf.where(nothing, tf.zeros([], weights.dtype), weights)
    if dropout:
        weights = drop(weights, dropout, key)[0]
    return tf.matmul(weights, v)


def drop(x, rate, key):
    """Elements kept with probability 1 - rate and scaled to keep the mean; and which were kept."""
    kept = tf.random.stateless_uniform(tf.shape(x), key) >= rate
    return tf.where(kept, x * (0.0 if rate >= 1 else 1 / (1 - rate)), tf.zeros([], x.dtype)), kept


def native_dropout(x, rate, train, *, key):
    return list(drop(x, rate, key))


def _reduced(x, reduction, count=None):
    if reduction == 0:
        return x
    total = tf.reduce_sum(x)
    return total if reduction == 2 else total / tf.cast(tf.size(x) if count is None else count, x.dtype)


def cross_entropy(logits, target, weight=None, reduction=1, ignore=-100, smoothing=0.0):
    """Classes lie in dimension 1 (0 of a vector); targets are class numbers, or probabilities of the logits' shape."""
    axis = 0 if rank(logits) == 1 else 1
    last = [d for d in range(rank(logits)) if d != axis] + [axis]
    logs = tf.nn.log_softmax(tf.transpose(logits, last), -1)
    classes = tf.cast(size(logits, axis), logs.dtype)
    per_class = tf.ones(shape([size(logits, axis)]), logs.dtype) if weight is None else weight
    if target.dtype.is_floating:
        target = tf.transpose(target, last) * (1 - smoothing) + smoothing / classes
        loss = -tf.reduce_sum(target * logs * per_class, -1)
        return _reduced(loss, reduction)
    counted = target != tf.cast(ignore, target.dtype)
    picked = tf.where(counted, target, tf.zeros_like(target))
    weights = tf.gather(per_class, picked) * tf.cast(counted, logs.dtype)
    loss = -tf.gather(logs, picked, axis=rank(logits) - 1, batch_dims=rank(logits) - 1) * weights
    if smoothing:
        spread = tf.reduce_sum(logs * per_class, -1) * tf.cast(counted, logs.dtype)
        loss = (1 - smoothing) * loss - smoothing / classes * spread
    return _reduced(loss, reduction, tf.reduce_sum(weights))


def mse_loss(x, target, reduction=1):
    return _reduced(tf.square(x - target), reduction)


def binary_cross_entropy(x, target, weight=None, pos_weight=None, reduction=1):
    positive = target if pos_weight is None else target * pos_weight
    loss = -(positive * tf.math.log_sigmoid(x) + (1 - target) * tf.math.log_sigmoid(-x))
    return _reduced(loss if weight is None else loss * weight, reduction)


def _scaled(y, count, normalization, forward):
    """PyTorch's normalisation codes: 0 none, 1 by the root of the count, 2 by the count. TensorFlow divides going back."""
    count = tf.cast(count, tf.float32)
    factor = {0: tf.ones([]), 1: tf.math.rsqrt(count), 2: 1 / count}[normalization] * (1.0 if forward else count)
    return y * tf.cast(factor, y.dtype)


def _transformed(x, dims, function):
    """``function`` on the last axes, which ``dims`` are brought to and back from."""
    dims = [d % rank(x) for d in dims]
    order = [d for d in range(rank(x)) if d not in dims] + dims
    return tf.transpose(function(tf.transpose(x, order)), [order.index(d) for d in range(rank(x))])


_FFT = {1: tf.signal.fft, 2: tf.signal.fft2d, 3: tf.signal.fft3d}
_IFFT = {1: tf.signal.ifft, 2: tf.signal.ifft2d, 3: tf.signal.ifft3d}
_RFFT = {1: tf.signal.rfft, 2: tf.signal.rfft2d, 3: tf.signal.rfft3d}
_IRFFT = {1: tf.signal.irfft, 2: tf.signal.irfft2d, 3: tf.signal.irfft3d}


def fft_r2c(x, dims, normalization, onesided):
    count = product(size(x, d) for d in dims)
    function = _RFFT[len(dims)] if onesided else lambda x: _FFT[len(dims)](tf.cast(x, tf.complex64))
    return _scaled(_transformed(x, dims, function), count, normalization, True)


def fft_c2c(x, dims, normalization, forward):
    count = product(size(x, d) for d in dims)
    return _scaled(_transformed(x, dims, (_FFT if forward else _IFFT)[len(dims)]), count, normalization, forward)


def fft_c2r(x, dims, normalization, last):
    lengths = [*(size(x, d) for d in dims[:-1]), last]
    y = _transformed(x, dims, lambda x: _IRFFT[len(dims)](x, shape(lengths)))
    return _scaled(y, product(lengths), normalization, False)


def inverse(x, *, check_errors=False):
    return [tf.linalg.inv(x), tf.zeros(shape(sizes(x)[:-2]), tf.int32)]


def bernoulli(x, p=None, *, key):
    return tf.cast(tf.random.stateless_uniform(tf.shape(x), key) < (x if p is None else p), x.dtype)


def exponential(x, rate=1.0, *, key):
    uniform = tf.random.stateless_uniform(tf.shape(x), key, dtype=x.dtype)  # in [0, 1): the logarithm takes 1 less it
    return -tf.math.log1p(-uniform) / rate


def rand(dims, *, dtype=None, key):
    return tf.random.stateless_uniform(shape(dims), key, dtype=dtype or tf.float32)


def randn(dims, *, dtype=None, key):
    return tf.random.stateless_normal(shape(dims), key, dtype=dtype or tf.float32)


def randint(*bounds, dtype=None, key):
    *bounds, dims = bounds
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    made = tf.random.stateless_uniform(shape(dims), key, minval=low, maxval=high, dtype=tf.int64)
    return tf.cast(made, dtype or tf.int64)


OPS = {
    "linear": linear, "mm": tf.matmul, "bmm": tf.matmul, "matmul": matmul, "addmm": addmm,
    "einsum": lambda equation, xs, path=None: tf.einsum(equation, *xs), "embedding": embedding, "layer_norm": layer_norm,
    "native_layer_norm": native_layer_norm, "native_group_norm": native_group_norm,
    "_native_batch_norm_legit_no_training": batch_norm_fixed, "_native_batch_norm_legit_functional": batch_norm,
    "_native_batch_norm_legit": batch_norm_without_statistics, "scaled_dot_product_attention": attention,
    "cross_entropy_loss": cross_entropy, "mse_loss": mse_loss, "binary_cross_entropy_with_logits": binary_cross_entropy,
    "_fft_r2c": fft_r2c, "_fft_c2r": fft_c2r, "_fft_c2c": fft_c2c, "linalg_inv_ex": inverse,
    "native_dropout": native_dropout, "bernoulli": bernoulli, "rand": rand, "randn": randn, "randint": randint,
    "exponential": exponential,
}  # fmt: skip
