"""The programs that ports run: what a page computes, written down without PyTorch.

A :class:`Program` is one way of calling a model (which inputs, which flags, training or not). It is a tree of calls, like
the page itself: each call of a module has a :class:`Graph`, and a graph calls the graphs of the modules inside it. Equal
calls (the blocks of a stack) share one graph, so a program grows with the page and not with its depth.

Inside a graph values are numbered: first its inputs, then what each node defines in turn. An argument is

    Value(3)            the value of that number: a tensor, or a size (a Python integer, or a scalar where sizes are unknown)
    Leaf("q.weight")    a parameter or buffer, its path counted from the module whose graph this is
    Constant("c4f1..")  a tensor of the program
    DType("float32")    a type
    or a number, string, boolean, None, or a list of arguments.

A node is ``op(*args, **kwargs)``. Ops are those of :mod:`catalog.ports.ops`, in PyTorch's semantics and argument order;
``outs`` is the number of values it defines: ``None`` one value that is no tuple, a number where the op gives a tuple.
A :class:`Call` runs the graph of a module inside, ``outs`` as there. ``updates`` says which buffers hold which value after
the call (batch statistics in training). Leaves are in PyTorch's layout here: a port that stores them otherwise turns them.

On disk: one JSON object (``VERSION`` in front) and the constants beside it as safetensors. Reading needs numpy alone.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

VERSION = 1


@dataclass(frozen=True)
class Value:
    """The value of this number in its graph."""

    index: int


@dataclass(frozen=True)
class Leaf:
    """A parameter or buffer, its path counted from the graph's module."""

    path: str


@dataclass(frozen=True)
class Constant:
    """A tensor of the program, by the hash of its content."""

    name: str


@dataclass(frozen=True)
class DType:
    """A type, by PyTorch's name of it."""

    name: str


class Node(NamedTuple):
    """``op(*args, **kwargs)``, one value or a tuple of ``outs``."""

    op: str
    args: tuple
    kwargs: dict[str, Any]
    outs: int | None = None


class Call(NamedTuple):
    """The graph ``graph`` of the module at ``path`` (counted from the caller's), run on ``args``; gives ``outs`` values."""

    path: str
    graph: str
    args: tuple
    outs: int


class Graph(NamedTuple):
    """What one call of a module computes; see the module docstring. ``random``: whether it draws random numbers."""

    module: str  # the class, for messages
    inputs: int
    nodes: tuple[Node | Call, ...]
    outputs: tuple
    updates: dict[str, Value]
    random: bool

    def to_json(self) -> dict[str, Any]:
        """The graph as plain data."""
        nodes = [
            [n.path, n.graph, _encode(n.args), n.outs, "call"]
            if isinstance(n, Call)
            else [n.op, _encode(n.args), {k: _encode(v) for k, v in n.kwargs.items()}, n.outs]
            for n in self.nodes
        ]
        return {
            "module": self.module,
            "inputs": self.inputs,
            "nodes": nodes,
            "outputs": _encode(self.outputs),
            "updates": {path: value.index for path, value in self.updates.items()},
            "random": self.random,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Graph":
        """The inverse of :meth:`to_json`."""
        nodes = tuple(
            Call(n[0], n[1], tuple(_decode(n[2])), n[3])
            if len(n) == 5
            else Node(n[0], tuple(_decode(n[1])), {k: _decode(v) for k, v in n[2].items()}, n[3])
            for n in data["nodes"]
        )
        updates = {path: Value(index) for path, index in data["updates"].items()}
        return cls(data["module"], data["inputs"], nodes, tuple(_decode(data["outputs"])), updates, data["random"])

    @property
    def key(self) -> str:
        """A hash of the content."""
        return digest(self.to_json())


class Input(NamedTuple):
    """A tensor that a program takes: its path among the arguments (``past_key_values.0.1``), type and dimensions.

    A dimension is a number where the program holds for that size alone, else (smallest, largest or None).
    """

    path: str
    dtype: str
    dims: tuple[int | tuple[int, int | None], ...]


@dataclass(frozen=True)
class Program:
    """One way of calling a model.

    ``outputs`` is the structure of the result: a dictionary of fields, a list, ``None``, or the number of one of the root
    graph's outputs. ``constants`` are numpy arrays by name.
    """

    inputs: tuple[Input, ...]
    outputs: Any
    root: str
    graphs: dict[str, Graph]
    train: bool
    constants: dict[str, Any] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The program as plain data, constants by name only."""
        return {
            "version": VERSION,
            "train": self.train,
            "inputs": [
                [i.path, i.dtype, [list(d) if isinstance(d, tuple) else d for d in i.dims]] for i in self.inputs
            ],
            "outputs": self.outputs,
            "root": self.root,
            "graphs": {key: graph.to_json() for key, graph in self.graphs.items()},
            "constants": sorted(self.constants),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], constants: Mapping[str, Any], where: str) -> "Program":
        """The inverse of :meth:`to_json`. Raises PortError naming ``where`` for another version or a damaged file."""
        from catalog.errors import PortError

        if data.get("version") != VERSION:
            raise PortError(
                f"{where}: a port program of version {data.get('version')}, this release reads {VERSION}; "
                "delete it and export again where PyTorch is installed"
            )
        try:
            inputs = tuple(
                Input(path, dtype, tuple(tuple(d) if isinstance(d, list) else d for d in dims))
                for path, dtype, dims in data["inputs"]
            )
            graphs = {key: Graph.from_json(graph) for key, graph in data["graphs"].items()}
            kept = {name: constants[name] for name in data["constants"]}
            return cls(inputs, data["outputs"], data["root"], graphs, data["train"], kept)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise PortError(f"{where}: not a whole port program ({type(error).__name__}: {error}); delete it") from None


def digest(data: Any) -> str:
    """A short hash of plain data, independent of the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _encode(arg):
    if isinstance(arg, Value):
        return {"v": arg.index}
    if isinstance(arg, Leaf):
        return {"leaf": arg.path}
    if isinstance(arg, Constant):
        return {"const": arg.name}
    if isinstance(arg, DType):
        return {"dtype": arg.name}
    if isinstance(arg, (list, tuple)):
        return [_encode(a) for a in arg]
    if isinstance(arg, float) and not math.isfinite(arg):
        return {"float": str(arg)}  # JSON has no infinity
    return arg


_KINDS = {"v": Value, "leaf": Leaf, "const": Constant, "dtype": DType, "float": float}


def _decode(data):
    if isinstance(data, dict):
        ((kind, content),) = data.items()
        return _KINDS[kind](content)
    if isinstance(data, list):
        return [_decode(d) for d in data]
    return data
