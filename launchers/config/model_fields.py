"""The keys below ``model.config``: fields of the model's configuration class, read from its page without importing it.

The page imports PyTorch; a misspelt field must be refused before that.
"""

import ast
import functools
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catalog
from catalog.registry import MODELS
from launchers.config.schema import Key

PREFIX = "model.config."
_NAMES = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True)
class ModelField:
    """A field: its key, the default as written on the page and where that stands."""

    key: Key
    text: str
    where: str


@functools.cache
def model_fields(name: str) -> dict[str, ModelField]:
    """The fields of a catalog model by their keys (``model.config.depth``); only those that a value can be typed for."""
    module, _, backbone = MODELS[name].partition(":")
    path = Path(catalog.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    shown = "/".join(module.split(".")) + ".py"
    found: dict[str, ModelField] = {}
    owner = _config_class(path, backbone)
    for item in owner.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None:
            kind = _type(item.annotation)
            if kind is not None:
                key = Key(PREFIX + item.target.id, kind, {"help": f"field of {owner.name}"})
                found[key.name] = ModelField(key, ast.unparse(item.value), f"{shown}:{item.lineno}")
    return found


def _config_class(path: Path, backbone: str) -> ast.ClassDef:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == f"{backbone}Config")


def _type(node: ast.expr) -> Any:
    """The type that an annotation stands for, or None where it is no plain one."""
    if isinstance(node, ast.Name):
        return _NAMES.get(node.id)
    if isinstance(node, ast.Constant) and node.value is None:
        return types.NoneType
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _type(node.left), _type(node.right)
        return left | right if left and right else None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Literal":
            return typing.Literal[tuple(item.value for item in items if isinstance(item, ast.Constant))]
        if node.value.id == "tuple":
            kinds = tuple(... if isinstance(i, ast.Constant) and i.value is ... else _type(i) for i in items)
            return tuple[kinds] if None not in kinds else None
    return None
