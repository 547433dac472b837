"""A nest of Python values and tensors <-> JSON and a flat table of tensors, exactly.

What JSON lacks (tensors, arrays, tuples, bytes, keys that are not text) becomes an object with one key that starts with
``$``. A tensor met twice (tied weights) is stored once and comes back as one tensor.
"""

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
import torch
from torch import Tensor

PLAIN = (str, int, float, bool, type(None))


def flatten(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """``state`` as a JSON tree and the tensors it refers to by name; TypeError names a value that cannot be kept."""
    tensors: dict[str, Tensor] = {}
    seen: dict[tuple, str] = {}

    def store(tensor: Tensor, name: str) -> str:
        tensor = tensor.detach()
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
            raise TypeError(f"cannot keep {name}: a checkpoint holds dense tensors with values")
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and place in seen:
            return seen[place]
        while name in tensors:  # {"a.b": x, "a": {"b": y}}
            name += "'"
        tensors[name] = tensor
        seen[place] = name
        return name

    def visit(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            return {"$tensor": store(value, name)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            return {"$array": store(torch.from_numpy(np.array(value, order="C")), name)}
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return value.item()
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, dict):
            items = [(key, visit(item, f"{name}.{key}" if name else str(key))) for key, item in value.items()]
            if all(type(key) is str and not key.startswith("$") for key in value):
                return dict(items)
            if any(type(key) not in PLAIN for key in value):
                raise TypeError(f"cannot keep {name or 'state'}: its keys are not text or numbers")
            return {"$dict": items}
        if isinstance(value, tuple):
            return {"$tuple": [visit(item, f"{name}.{i}") for i, item in enumerate(value)]}
        if isinstance(value, list):
            return [visit(item, f"{name}.{i}") for i, item in enumerate(value)]
        if isinstance(value, bytes):
            return {"$bytes": b64encode(value).decode()}
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"cannot keep {name or 'state'}: a checkpoint holds tensors, numbers and text, this is {kind}")

    return visit(state, ""), tensors


def restore(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of :func:`flatten`; subclasses of dict and tuple come back as those, NumPy numbers as Python's."""

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(item) for item in node]
        if not isinstance(node, dict):
            return node
        if len(node) != 1 or not next(iter(node)).startswith("$"):
            return {key: visit(item) for key, item in node.items()}
        ((tag, inner),) = node.items()
        match tag:
            case "$tensor":
                return tensors[inner]
            case "$array":
                return tensors[inner].numpy()
            case "$tuple":
                return tuple(visit(item) for item in inner)
            case "$dict":
                return {key: visit(item) for key, item in inner}
            case "$bytes":
                return b64decode(inner)
        raise ValueError(f"unknown mark {tag!r} in a checkpoint")

    return visit(tree)
