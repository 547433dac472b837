"""What a key accepts, in words and as a check."""

import math
import types
import typing
from typing import Any, Literal

from launchers.config.schema import Key

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true | false", type(None): "null"}


def accepts(key: Key) -> str:
    """The allowed values of ``key`` in a few words, as ``number > 0 | null``."""
    bounds = _bounds(key)
    if key.meta.get("kind") == "share":
        return "percent | steps | fraction"
    if "choices" in key.meta:
        return " | ".join(key.meta["choices"])
    return " | ".join(_words(part, bounds) for part in _parts(key.type))


def check(key: Key, value: Any) -> Any:
    """``value`` as the field wants it (a tuple for a list, a fraction for a percentage).

    Raises ``ValueError`` that says in a few words why the value does not fit.
    """
    if key.meta.get("kind") == "share":
        return _share(value)
    if "choices" in key.meta and value not in key.meta["choices"] and value is not None:
        raise ValueError("not one of its values")
    for part in _parts(key.type):
        fits, converted = _fit(part, value)
        if fits:
            _bound(key, converted)
            return converted
    raise ValueError(_reason(key, value))


def choices(key: Key) -> tuple[str, ...]:
    """The words that the key takes, for a suggestion."""
    literal = [typing.get_args(part) for part in _parts(key.type) if typing.get_origin(part) is Literal]
    return (*key.meta.get("choices", ()), *(word for words in literal for word in words))


def show(value: Any) -> str:
    """A value as it would be written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(show, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.10g}".replace("e-0", "e-").replace("e+0", "e")
    return str(value)


def is_text(key: Key) -> bool:
    """Whether the key takes free text, so that ``000123`` is a name and not a number; perhaps a list of texts as well."""
    parts = [part for part in _parts(key.type) if part is not type(None)]
    return str in parts and all(part in (str, tuple[str, ...]) for part in parts)


def is_list(key: Key) -> bool:
    """Whether the key takes a list."""
    return any(typing.get_origin(part) is tuple for part in _parts(key.type))


def _parts(annotation: Any) -> tuple[Any, ...]:
    return (
        typing.get_args(annotation)
        if typing.get_origin(annotation) in (typing.Union, types.UnionType)
        else (annotation,)
    )


def _words(part: Any, bounds: str) -> str:
    origin, args = typing.get_origin(part), typing.get_args(part)
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin is tuple and args[-1] is not Ellipsis:
        return f"[{','.join(['number'] * len(args))}]{bounds}"
    if origin is tuple:
        return f"[{_WORDS[args[0]]},...]"
    if origin is dict:
        return "{key: value}"
    return _WORDS[part] + (bounds if part in (int, float) else "")


def _bounds(key: Key) -> str:
    signs = {"min": ">=", "above": ">", "max": "<=", "below": "<"}
    found = [f"{sign} {show(key.meta[name])}" for name, sign in signs.items() if name in key.meta]
    return f" {' and '.join(found)}" if found else ""


def _fit(part: Any, value: Any) -> tuple[bool, Any]:
    """Whether ``value`` is of the annotated type, and the value in that type."""
    origin, args = typing.get_origin(part), typing.get_args(part)
    if origin is Literal:
        return isinstance(value, str) and value in args, value
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or (args[-1] is not Ellipsis and len(value) != len(args)):
            return False, value
        fitted = [_fit(args[0], item) for item in value]
        return all(fits for fits, _ in fitted), tuple(item for _, item in fitted)
    if origin is dict:
        return isinstance(value, dict), value  # what stands below is checked key by key
    if part is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if part is float and isinstance(value, float):
        return math.isfinite(value), value
    return type(value) is part, value


def _bound(key: Key, value: Any) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            meta = key.meta
            low = number >= meta.get("min", number) and ("above" not in meta or number > meta["above"])
            high = number <= meta.get("max", number) and ("below" not in meta or number < meta["below"])
            if not (low and high):
                raise ValueError("out of bounds")


def _share(value: Any) -> int | float:
    """``6%`` and ``0.06`` -> 0.06 (a share of the run); ``78`` -> 78 (optimizer steps)."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            value = float(value[:-1]) / 100
        except ValueError:
            raise ValueError("not a percentage") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("not a percentage, a number of steps or a fraction")
    if value < 0 or (isinstance(value, float) and value > 1):
        raise ValueError("out of bounds: a share is at most 100% and steps are a whole number")
    return value


def _reason(key: Key, value: Any) -> str:
    parts = [part for part in _parts(key.type) if part is not type(None)]
    if value is None:
        return "a value is needed"
    choices = [part for part in parts if typing.get_origin(part) is Literal]
    if choices:
        return "not one of its values"
    if parts == [int] and isinstance(value, float):
        return "not a whole number"
    if typing.get_origin(parts[0]) in (tuple, dict):
        return f"not of the form {_words(parts[0], '')}"
    return f"not a {_WORDS[parts[0]]}" if parts[0] is not bool else "not true or false"
