"""Element by element: arithmetic, comparison, activation; and the whole numbers that sizes are."""

import math
import operator

import jax
import jax.numpy as jnp
from jax import lax

from catalog.ports.promotion import kind, result_type


def dtype_of(name: str):
    """The JAX type of PyTorch's name."""
    return jax.dtypes.canonicalize_dtype(jnp.dtype(name))


def promoted(*operands):
    """Operands as arrays of the type that PyTorch would compute in."""
    types = [(_type(x), getattr(x, "ndim", None)) for x in operands]
    result = dtype_of(result_type(types, str(dtype_of("int64"))))
    return [jnp.asarray(x, result) for x in operands]


def _type(x):
    return (
        str(x.dtype)
        if hasattr(x, "dtype")
        else type(x).__name__.replace("float", "float32").replace("complex", "complex64")
    )


def real(x):
    """Whole numbers as real ones, where a function's result is real."""
    x = jnp.asarray(x)
    return x if kind(str(x.dtype)) >= 2 else x.astype(jnp.float32)


def _unary(function, to_real=True):
    return (lambda x: function(real(x))) if to_real else function


def _binary(function):
    return lambda a, b: function(*promoted(a, b))


def _bits(function, logical):
    def apply(a, b):
        a, b = promoted(a, b)
        return logical(a, b) if a.dtype == bool else function(a, b)

    return apply


def add(a, b, *, alpha=1):
    a, b = promoted(a, b)
    if alpha != 1:
        b = b * jnp.asarray(alpha, b.dtype)
    return a | b if a.dtype == bool else a + b


def sub(a, b, *, alpha=1):
    a, b = promoted(a, b)
    return a - (b if alpha == 1 else b * jnp.asarray(alpha, b.dtype))


def mul(a, b):
    a, b = promoted(a, b)
    return a & b if a.dtype == bool else a * b


def div(a, b, *, rounding_mode=None):
    a, b = promoted(a, b)
    if rounding_mode == "floor":
        return jnp.floor_divide(a, b)
    if rounding_mode == "trunc":
        return lax.div(*jnp.broadcast_arrays(a, b)) if kind(str(a.dtype)) == 1 else jnp.trunc(a / b)
    return real(a) / real(b)


def power(a, b):
    if isinstance(b, (int, float)) and hasattr(a, "dtype"):
        if b == 2:
            return a * a
        if isinstance(b, int) or float(b).is_integer():
            return lax.integer_pow(real(a) if isinstance(b, float) else a, int(b))
    return jnp.power(*promoted(a, b))


def clamp(x, low=None, high=None):
    # where, not minimum: at the bound itself the whole gradient is the input's
    if low is not None:
        x, low = promoted(x, low)
        x = jnp.where(x < low, low, x)
    if high is not None:
        x, high = promoted(x, high)
        x = jnp.where(x > high, high, x)
    return x


def where(condition, a, b):
    return jnp.where(condition, *promoted(a, b))


def masked_fill(x, mask, value):
    return jnp.where(mask, jnp.asarray(value, x.dtype), x)


def gelu(x, approximate="none"):
    return jax.nn.gelu(x, approximate=approximate == "tanh")


def leaky_relu(x, slope=0.01):
    return jnp.where(x > 0, x, x * slope)


def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    negative = jnp.where(x > 0, 0.0, x)  # where expm1 cannot overflow, so that no gradient is NaN
    return jnp.where(x > 0, x * scale, jnp.expm1(negative * input_scale) * (alpha * scale)).astype(x.dtype)


def softplus(x, beta=1.0, threshold=20.0):
    return jnp.where(x * beta > threshold, x, jax.nn.softplus(x * beta) / beta).astype(x.dtype)


def hardtanh(x, low=-1.0, high=1.0):
    inside = (x > low) & (x < high)
    return jnp.where(inside, x, lax.stop_gradient(jnp.clip(x, low, high)))


def hardsigmoid(x):
    return hardtanh(x / 6 + 0.5, 0.0, 1.0)


def hardswish(x):
    return x * hardsigmoid(x)


def to_copy(x, *, dtype=None):
    return x if dtype is None else jnp.asarray(x).astype(dtype)


def view_as_complex(x):
    return lax.complex(x[..., 0], x[..., 1])


def view_as_real(x):
    return jnp.stack([x.real, x.imag], -1)


OPS = {
    "abs": jnp.abs, "neg": operator.neg, "sign": jnp.sign, "ceil": jnp.ceil, "floor": jnp.floor,
    "round": lambda x, *, decimals=0: jnp.round(x, decimals), "trunc": jnp.trunc, "exp": _unary(jnp.exp),
    "expm1": _unary(jnp.expm1), "log": _unary(jnp.log), "log2": _unary(jnp.log2), "log10": _unary(jnp.log10),
    "log1p": _unary(jnp.log1p), "sqrt": _unary(jnp.sqrt), "rsqrt": _unary(lax.rsqrt),
    "reciprocal": _unary(lambda x: 1 / x), "sin": _unary(jnp.sin), "cos": _unary(jnp.cos), "tan": _unary(jnp.tan),
    "asin": _unary(jnp.arcsin), "acos": _unary(jnp.arccos), "atan": _unary(jnp.arctan), "sinh": _unary(jnp.sinh),
    "cosh": _unary(jnp.cosh), "tanh": _unary(jnp.tanh), "asinh": _unary(jnp.arcsinh), "acosh": _unary(jnp.arccosh),
    "atanh": _unary(jnp.arctanh), "erf": _unary(lax.erf), "sigmoid": _unary(jax.nn.sigmoid), "isnan": jnp.isnan,
    "isinf": jnp.isinf, "logical_not": jnp.logical_not, "bitwise_not": jnp.bitwise_not, "add": add, "sub": sub,
    "mul": mul, "div": div, "remainder": _binary(jnp.remainder), "fmod": _binary(jnp.fmod), "pow": power,
    "atan2": _binary(lambda a, b: jnp.arctan2(real(a), real(b))), "maximum": _binary(jnp.maximum),
    "minimum": _binary(jnp.minimum), "eq": _binary(operator.eq), "ne": _binary(operator.ne),
    "lt": _binary(operator.lt), "le": _binary(operator.le), "gt": _binary(operator.gt), "ge": _binary(operator.ge),
    "logical_and": jnp.logical_and, "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor,
    "bitwise_and": _bits(jnp.bitwise_and, jnp.logical_and), "bitwise_or": _bits(jnp.bitwise_or, jnp.logical_or),
    "bitwise_xor": _bits(jnp.bitwise_xor, jnp.logical_xor), "bitwise_left_shift": _binary(jnp.left_shift),
    "bitwise_right_shift": _binary(jnp.right_shift), "clamp": clamp, "where": where, "masked_fill": masked_fill,
    "relu": jax.nn.relu, "leaky_relu": leaky_relu, "elu": elu, "gelu": gelu, "silu": jax.nn.silu,
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)), "softplus": softplus, "hardtanh": hardtanh,
    "hardsigmoid": hardsigmoid, "hardswish": hardswish, "log_sigmoid": jax.nn.log_sigmoid, "_to_copy": to_copy,
    "detach": lax.stop_gradient, "view_as_real": view_as_real, "view_as_complex": view_as_complex,
    "complex": lax.complex, "size": lambda x, dim: x.shape[dim], "int.add": operator.add, "int.sub": operator.sub,
    "int.mul": operator.mul, "int.floordiv": operator.floordiv, "int.mod": operator.mod, "int.neg": operator.neg,
    "int.max": max, "int.min": min, "int.truediv": operator.truediv, "int.pow": operator.pow, "int.float": float,
    "int.int": int, "int.ceil": math.ceil, "int.floor": math.floor, "int.round": round,
}  # fmt: skip
