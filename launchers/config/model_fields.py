"""The keys below ``model.config``: fields of the model's configuration class, read from its page without importing it.

The page imports PyTorch; a misspelt field must be refused before that.
"""

import ast
import functools
import types
import typing
from collections.abc import Iterator
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
    return dict(_fields(*_config_class(*_class(module, backbone))))


def _config_class(module: str, owner: ast.ClassDef) -> tuple[str, ast.ClassDef]:
    """The class that a backbone, or the page it builds on, names as its ``config_class``."""
    for item in owner.body:
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "config_class":
            return _follow(module, item.value)
    return _config_class(*_follow(module, owner.bases[0]))


def _fields(module: str, owner: ast.ClassDef) -> Iterator[tuple[str, ModelField]]:
    """The fields of a class after those of its bases; what every model has (``catalog.configs``) is not for the user."""
    if module == "catalog.configs":
        return
    for base in owner.bases:
        yield from _fields(*_follow(module, base))
    for item in owner.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None:
            kind = _type(item.annotation)
            if kind is not None:
                key = Key(PREFIX + item.target.id, kind, {"help": f"field of {owner.name}"})
                where = f"{module.replace('.', '/')}.py:{item.lineno}"
                yield key.name, ModelField(key, ast.unparse(item.value), where)


def _follow(module: str, name: ast.expr) -> tuple[str, ast.ClassDef]:
    """The class that ``Name`` or ``page.Name`` stands for in a module."""
    if isinstance(name, ast.Attribute):
        return _class(_imported(module, ast.unparse(name.value)), name.attr)
    return _class(module, ast.unparse(name))


def _class(module: str, name: str) -> tuple[str, ast.ClassDef]:
    """A class by name, where a module defines it or imports it from, with the module that defines it."""
    for item in _parsed(module).body:
        if isinstance(item, ast.ClassDef) and item.name == name:
            return module, item
    home, _, original = _imported(module, name).rpartition(".")
    return _class(home, original)


def _imported(module: str, name: str) -> str:
    """The full name of what a module imports as ``name``."""
    for item in _parsed(module).body:
        if isinstance(item, ast.ImportFrom):
            for alias in item.names:
                if (alias.asname or alias.name) == name:
                    return f"{item.module}.{alias.name}"
    raise LookupError(f"{module} does not import {name} by 'from ... import'")


@functools.cache
def _parsed(module: str) -> ast.Module:
    path = Path(catalog.__file__).parents[1].joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


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
