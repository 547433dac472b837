"""PyTorch's rules for the type of a result, for frameworks that have others.

Tensors with dimensions decide; a tensor of none, or a Python number, only when its kind (bool < whole < real < complex) is
higher than theirs.
"""

from collections.abc import Iterable

_KINDS = {"bool": 0, "complex64": 3, "complex128": 3}
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_WHOLE = ("uint8", "int8", "int16", "int32", "int64")


def kind(dtype: str) -> int:
    """0 for bool, 1 for whole numbers, 2 for real ones, 3 for complex ones."""
    return _KINDS.get(dtype, 2 if dtype in _FLOATS else 1)


def result_type(operands: Iterable[tuple[str, int | None]], whole: str = "int64") -> str:
    """The type of a result of operands (type, number of dimensions; ``None`` for a Python number).

    ``whole`` is the type of a Python whole number where no tensor says otherwise.
    """
    levels: list[str | None] = [None, None, None]
    for dtype, dims in operands:
        level = 2 if dims is None else 1 if dims == 0 else 0
        if dims is None:
            dtype = {0: "bool", 1: whole, 2: "float32", 3: "complex64"}[kind(dtype)]
        levels[level] = dtype if levels[level] is None else join(levels[level], dtype)
    result = None
    for dtype in levels:
        if dtype is not None and (result is None or kind(dtype) > kind(result)):
            result = _complex(result) if result is not None and kind(dtype) == 3 else dtype
    return result


def _complex(dtype):
    return "complex128" if dtype == "float64" else "complex64"


def join(one: str, other: str) -> str:
    """The smallest type that holds both, as PyTorch has it."""
    if one == other:
        return one
    if kind(one) != kind(other):
        low, high = sorted((one, other), key=kind)
        return "complex128" if kind(high) == 3 and low == "float64" else high
    if kind(one) == 3:
        return "complex128"
    if kind(one) == 2:
        wide = max(one, other, key=_FLOATS.index)
        return "float32" if {one, other} == {"float16", "bfloat16"} else wide
    if "uint8" in (one, other):
        signed = one if other == "uint8" else other
        return "int16" if signed == "int8" else signed
    return max(one, other, key=_WHOLE.index)
