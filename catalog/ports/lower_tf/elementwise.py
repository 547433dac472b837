"""Element by element: arithmetic, comparison, activation; and the whole numbers that sizes are."""

import math
import operator

import numpy as np
import tensorflow as tf

from catalog.ports.lower_tf.sizes import size
from catalog.ports.promotion import kind, result_type


def dtype_of(name: str):
    """The TensorFlow type of PyTorch's name."""
    return tf.as_dtype(name)


def promoted(*operands):
    """Operands as tensors of the type that PyTorch would compute in."""
    types = [
        (x.dtype.name, x.shape.rank) if tf.is_tensor(x) else (_PYTHON[type(x)], None)
        for x in operands
    ]  # fmt: skip
    result = dtype_of(result_type(types))
    return [cast(x, result) for x in operands]


_PYTHON = {bool: "bool", int: "int64", float: "float32", complex: "complex64"}


def cast(x, dtype):
    """A tensor of this type, from a tensor or a Python number."""
    return tf.cast(x, dtype) if tf.is_tensor(x) else tf.constant(np.asarray(x).astype(dtype.as_numpy_dtype))


def real(x):
    """Whole numbers as real ones, where a function's result is real."""
    return x if kind(x.dtype.name) >= 2 else tf.cast(x, tf.float32)


def _unary(function):
    return lambda x: function(real(x))


def _binary(function):
    return lambda a, b: function(*promoted(a, b))


def _bits(function, logical):
    def apply(a, b):
        a, b = promoted(a, b)
        return logical(a, b) if a.dtype == tf.bool else function(a, b)

    return apply


def add(a, b, *, alpha=1):
    a, b = promoted(a, b)
    if a.dtype == tf.bool:
        return tf.logical_or(a, b)
    return a + (b if alpha == 1 else b * cast(alpha, b.dtype))


def sub(a, b, *, alpha=1):
    a, b = promoted(a, b)
    return a - (b if alpha == 1 else b * cast(alpha, b.dtype))


def mul(a, b):
    a, b = promoted(a, b)
    return tf.logical_and(a, b) if a.dtype == tf.bool else a * b


def div(a, b, *, rounding_mode=None):
    a, b = promoted(a, b)
    if rounding_mode == "floor":
        return tf.math.floordiv(a, b)
    if rounding_mode == "trunc":
        return tf.truncatediv(a, b) if kind(a.dtype.name) == 1 else trunc(a / b)
    return real(a) / real(b)


def trunc(x):
    return tf.where(x < 0, tf.math.ceil(x), tf.math.floor(x))


def power(a, b):
    if not tf.is_tensor(b) and b == 2:
        return a * a
    a, b = promoted(a, b)
    return tf.pow(a, b)


def fmod(a, b):
    a, b = promoted(a, b)
    return a - tf.truncatediv(a, b) * b if kind(a.dtype.name) == 1 else a - trunc(a / b) * b


def _extreme(larger, function):
    def apply(a, b):
        a, b = promoted(a, b)
        if kind(a.dtype.name) < 2:
            return function(a, b)
        # where they are equal, each gets half of the gradient
        first, second = (a > b, a < b) if larger else (a < b, a > b)
        return tf.where(first, a, tf.where(second, b, a * 0.5 + b * 0.5))

    return apply


def clamp(x, low=None, high=None):
    # where, not minimum: at the bound itself the whole gradient is the input's
    if low is not None:
        x, low = promoted(x, low)
        x = tf.where(x < low, low, x)
    if high is not None:
        x, high = promoted(x, high)
        x = tf.where(x > high, high, x)
    return x


def where(condition, a, b):
    return tf.where(condition, *promoted(a, b))


def masked_fill(x, mask, value):
    return tf.where(mask, cast(value, x.dtype), x)


def round_(x, *, decimals=0):
    return tf.round(x) if decimals == 0 else tf.round(x * 10**decimals) / 10**decimals


def gelu(x, approximate="none"):
    return tf.nn.gelu(x, approximate=approximate == "tanh")


def leaky_relu(x, slope=0.01):
    return tf.where(x > 0, x, x * slope)


def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    negative = tf.where(x > 0, tf.zeros_like(x), x)  # where expm1 cannot overflow, so that no gradient is NaN
    return tf.where(x > 0, x * scale, tf.math.expm1(negative * input_scale) * (alpha * scale))


def softplus(x, beta=1.0, threshold=20.0):
    return tf.where(x * beta > threshold, x, tf.math.softplus(x * beta) / beta)


def hardtanh(x, low=-1.0, high=1.0):
    inside = (x > low) & (x < high)
    return tf.where(inside, x, tf.stop_gradient(tf.clip_by_value(x, low, high)))


def hardsigmoid(x):
    return hardtanh(x / 6 + 0.5, 0.0, 1.0)


def to_copy(x, *, dtype=None):
    return x if dtype is None else tf.cast(x, dtype)


def view_as_complex(x):
    return tf.complex(x[..., 0], x[..., 1])


def view_as_real(x):
    return tf.stack([tf.math.real(x), tf.math.imag(x)], -1)


def _larger(a, b):
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else tf.maximum(a, b)


def _smaller(a, b):
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else tf.minimum(a, b)


def _of_size(known, unknown):
    """A function of a number that is either Python's or a scalar tensor."""
    return lambda x: unknown(x) if tf.is_tensor(x) else known(x)


def _whole(function):
    return lambda x: tf.cast(function(x), tf.int32)


OPS = {
    "abs": tf.abs, "neg": operator.neg, "sign": tf.sign, "ceil": tf.math.ceil, "floor": tf.math.floor, "round": round_,
    "trunc": trunc, "exp": _unary(tf.exp), "expm1": _unary(tf.math.expm1), "log": _unary(tf.math.log),
    "log2": _unary(lambda x: tf.math.log(x) / math.log(2)), "log10": _unary(lambda x: tf.math.log(x) / math.log(10)),
    "log1p": _unary(tf.math.log1p), "sqrt": _unary(tf.sqrt), "rsqrt": _unary(tf.math.rsqrt),
    "reciprocal": _unary(tf.math.reciprocal), "sin": _unary(tf.sin), "cos": _unary(tf.cos), "tan": _unary(tf.tan),
    "asin": _unary(tf.asin), "acos": _unary(tf.acos), "atan": _unary(tf.atan), "sinh": _unary(tf.sinh),
    "cosh": _unary(tf.cosh), "tanh": _unary(tf.tanh), "asinh": _unary(tf.asinh), "acosh": _unary(tf.acosh),
    "atanh": _unary(tf.atanh), "erf": _unary(tf.math.erf), "sigmoid": _unary(tf.sigmoid), "isnan": tf.math.is_nan,
    "isinf": tf.math.is_inf, "logical_not": lambda x: tf.logical_not(tf.cast(x, tf.bool)),
    "bitwise_not": lambda x: tf.logical_not(x) if x.dtype == tf.bool else tf.bitwise.invert(x), "add": add, "sub": sub,
    "mul": mul, "div": div, "remainder": _binary(tf.math.floormod), "fmod": fmod, "pow": power,
    "atan2": _binary(lambda a, b: tf.atan2(real(a), real(b))), "maximum": _extreme(True, tf.maximum),
    "minimum": _extreme(False, tf.minimum), "eq": _binary(tf.equal), "ne": _binary(tf.not_equal),
    "lt": _binary(tf.less), "le": _binary(tf.less_equal), "gt": _binary(tf.greater), "ge": _binary(tf.greater_equal),
    "logical_and": lambda a, b: tf.logical_and(tf.cast(a, tf.bool), tf.cast(b, tf.bool)),
    "logical_or": lambda a, b: tf.logical_or(tf.cast(a, tf.bool), tf.cast(b, tf.bool)),
    "logical_xor": lambda a, b: tf.math.logical_xor(tf.cast(a, tf.bool), tf.cast(b, tf.bool)),
    "bitwise_and": _bits(tf.bitwise.bitwise_and, tf.logical_and),
    "bitwise_or": _bits(tf.bitwise.bitwise_or, tf.logical_or),
    "bitwise_xor": _bits(tf.bitwise.bitwise_xor, tf.math.logical_xor),
    "bitwise_left_shift": _binary(tf.bitwise.left_shift), "bitwise_right_shift": _binary(tf.bitwise.right_shift),
    "clamp": clamp, "where": where, "masked_fill": masked_fill, "relu": tf.nn.relu, "leaky_relu": leaky_relu, "elu": elu,
    "gelu": gelu, "silu": tf.nn.silu, "mish": lambda x: x * tf.tanh(tf.math.softplus(x)), "softplus": softplus,
    "hardtanh": hardtanh, "hardsigmoid": hardsigmoid, "hardswish": lambda x: x * hardsigmoid(x),
    "log_sigmoid": tf.math.log_sigmoid, "_to_copy": to_copy, "detach": tf.stop_gradient, "view_as_real": view_as_real,
    "view_as_complex": view_as_complex, "complex": tf.complex, "size": size, "int.add": operator.add,
    "int.sub": operator.sub, "int.mul": operator.mul, "int.floordiv": operator.floordiv, "int.mod": operator.mod,
    "int.neg": operator.neg, "int.max": _larger, "int.min": _smaller, "int.truediv": operator.truediv,
    "int.pow": operator.pow, "int.float": _of_size(float, lambda x: tf.cast(x, tf.float64)),
    "int.int": _of_size(int, _whole(lambda x: x)), "int.ceil": _of_size(math.ceil, _whole(tf.math.ceil)),
    "int.floor": _of_size(math.floor, _whole(tf.math.floor)), "int.round": _of_size(round, _whole(tf.round)),
}  # fmt: skip
