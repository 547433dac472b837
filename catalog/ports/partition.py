"""An exported program's flat list of operations, parted into one graph a module call.

Each node of ``torch.export`` knows the calls it was made in; neighbours that share a call belong to it. The result is right
whatever those notes say, since a graph's inputs and outputs follow from who uses what: notes only decide where to cut.

Sizes are computed where they are needed, from a tensor at hand that has them, so that they do not travel between modules.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from catalog.errors import PortError
from catalog.ports import ops
from catalog.ports.ir import Call, Constant, DType, Graph, Leaf, Node, Value, digest

_INTS = {
    operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.floordiv: "floordiv", operator.mod: "mod",
    operator.neg: "neg", operator.truediv: "truediv", operator.pow: "pow", torch.sym_max: "max", torch.sym_min: "min",
    torch.sym_float: "float", torch.sym_int: "int", math.ceil: "ceil", math.floor: "floor", round: "round",
}  # fmt: skip
_NOTHING = {"clone", "alias", "lift_fresh_copy"}  # ops that change no value
_PLACEMENT = {"device", "layout", "pin_memory", "memory_format", "non_blocking"}  # arguments about where, not what
_INNER = "_empty_nn_module_stack_from_metadata_hook"


@dataclass
class _Part:
    """One call of a module: ``items`` are nodes and further calls, which cover positions ``low`` to ``high``."""

    key: str
    path: str
    kind: str
    low: int = 0
    high: int = 0
    items: list[Any] = field(default_factory=list)


def partition(program, model: nn.Module, title: str) -> tuple[str, dict[str, Graph], dict[str, Any]]:
    """(key of the root graph, graphs by key, constants by name) of an exported program. Raises PortError."""
    return _Partition(program, model, title).run()


class _Partition:
    def __init__(self, program, model, title):
        self.title, self.graphs, self.constants = title, {}, {}
        signature = program.graph_signature
        self.leaves = {
            name: target.removeprefix("model.")
            for table in (signature.inputs_to_parameters, signature.inputs_to_buffers)
            for name, target in table.items()
        }
        self.names = _names(model)
        self.lifted = {name: program.constants[t] for name, t in signature.inputs_to_lifted_tensor_constants.items()}
        self.users = list(signature.user_inputs)
        self.nodes = list(program.graph.nodes)
        self.place = {node: i for i, node in enumerate(self.nodes)}
        if signature.user_inputs_to_mutate:
            raise PortError(f"{title}: forward writes into its inputs {list(signature.user_inputs_to_mutate.values())}")
        results = self.nodes[-1].args[0]
        self.updates = {
            self.value(node): signature.buffers_to_mutate[node.name].removeprefix("model.")
            for node in results
            if isinstance(node, fx.Node) and node.name in signature.buffers_to_mutate
        }
        self.results = [node for node in results if node.name not in signature.buffers_to_mutate]
        self.live = self._live()
        self.used = self._used()

    def run(self):
        """Part and number everything; see :func:`partition`."""
        root = self._parts()
        graph, given = self._graph(root, [n for n in self.nodes if n.op == "placeholder" and n.name in self.users])
        assert len(given) == graph.inputs
        return self._keep(graph), self.graphs, self.constants

    def _keep(self, graph):
        key = graph.key
        self.graphs[key] = graph
        return key

    # What a node stands for

    def value(self, node: fx.Node) -> tuple[fx.Node, int | None]:
        """The value behind ``node``: through ops that change nothing, an element of a tuple with its index."""
        index = None
        while node.op == "call_function":
            if node.target is operator.getitem:
                node, index = node.args
            elif index is None and self._same(node):
                node = node.args[0]
            else:
                break
        return node, index

    def _same(self, node):
        name = _name(node)
        if name in _NOTHING:
            return True
        source = node.args[0].meta.get("val") if node.args and isinstance(node.args[0], fx.Node) else None
        if name == "_to_copy":
            return source.dtype == node.meta["val"].dtype
        if name == "detach":
            return not source.dtype.is_floating_point and not source.dtype.is_complex
        if name == "slice.Tensor":
            _, _, start, end, step = (*node.args, *(0, None, None, 1)[len(node.args) - 1 :])
            return not start and step == 1 and (end is None or end == 2**63 - 1)
        if name == "expand":
            return tuple(source.shape) == tuple(node.meta["val"].shape)
        return False

    def inputs(self, node: fx.Node) -> Iterator[fx.Node]:
        """The values that a node reads."""
        for one in node.all_input_nodes:
            yield self.value(one)[0]

    def _live(self):
        live, stack = set(), [self.value(n)[0] for n in self.results] + [node for node, _ in self.updates]
        while stack:
            node = stack.pop()
            if node not in live:
                live.add(node)
                stack += self.inputs(node)
        return live

    def _used(self):
        """Positions at which each value is read; those of the program's result lie behind everything."""
        used: dict[Any, list[int]] = {}
        for node in self.live:
            for one in node.all_input_nodes:
                used.setdefault(self.value(one), []).append(self.place[node])
        for node in self.results:
            used.setdefault(self.value(node), []).append(len(self.nodes))
        return used

    # Which calls there are

    def _parts(self) -> _Part:
        root = _Part("", "", self.title, 0, len(self.nodes))
        open_ = [root]
        for i, node in enumerate(self.nodes):
            if node not in self.live or node.op != "call_function" or _is_size(node):
                continue
            stack = [
                (key, path.removeprefix("model").lstrip("."), str(kind).rpartition(".")[2].rstrip("'>"))
                for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items()
                if key != _INNER and path.startswith("model.")
            ]
            depth = 0
            while depth < min(len(stack), len(open_) - 1) and open_[depth + 1].key == stack[depth][0]:
                depth += 1
            del open_[depth + 1 :]
            for key, path, kind in stack[depth:]:
                part = _Part(key, path, kind, i)
                open_[-1].items.append(part)
                open_.append(part)
            for part in open_:
                part.high = i + 1
            open_[-1].items.append(node)
        root.high = len(self.nodes)
        return root

    # One graph

    def _graph(self, part: _Part, given: list[fx.Node]) -> tuple[Graph, list[fx.Node]]:
        """The graph of a call, and what its inputs are to the caller. ``given``: inputs that it has in any case."""
        graph = _Open(self, part)
        for node in given:
            graph.take((node, None))
        for item in part.items:
            if isinstance(item, _Part):
                child, taken = self._graph(item, [])
                outs = self._leaving(item)
                args = tuple(graph.ref(value) for value in taken)
                path = item.path[len(part.path) :].lstrip(".")
                graph.add(Call(path, self._keep(child), args, len(outs)), outs, child.random)
            else:
                graph.op(item)
        leaving = [self.value(n) for n in self.results] if part.key == "" else self._leaving(part)
        return graph.close([graph.ref(value) for value in leaving])

    def _leaving(self, part):
        """Values made in a call and read behind it, in the order they are made."""
        found = [
            value
            for value, readers in self.used.items()
            if part.low <= self.place[value[0]] < part.high
            and value[0].op == "call_function"
            and not _is_size(value[0])
            and any(not part.low <= reader < part.high for reader in readers)
        ]
        return sorted(found, key=lambda value: (self.place[value[0]], value[1] or 0))

    def leaf(self, node, path) -> Leaf | None:
        """The leaf that a placeholder is, where one of its names lies inside the module at ``path``."""
        prefix = f"{path}." if path else ""
        for name in self.names[self.leaves[node.name]]:
            if name.startswith(prefix):
                return Leaf(name[len(prefix) :])
        return None

    def constant(self, node) -> Constant:
        """A lifted constant of the program."""
        array = self.lifted[node.name].detach().cpu().numpy()
        name = "c" + digest([str(array.dtype), array.shape, array.reshape(-1).tolist()])
        self.constants[name] = np.array(array, order="C")
        return Constant(name)

    def where(self, part: _Part) -> str:
        """A call in words, for messages."""
        return f"{self.title}: '{part.path}' ({part.kind})" if part.path else self.title


class _Open:
    """A graph in the making. Inputs are numbered -1, -2, .. until their count is known."""

    def __init__(self, partition: _Partition, part: _Part):
        self.all, self.part = partition, part
        self.taken: list[Any] = []
        self.values: dict[Any, Value] = {}
        self.sizes: dict[Any, Value] = {}
        self.shapes: list[tuple[Value, Any]] = []
        self.nodes: list[Node | Call] = []
        self.count, self.random = 0, False
        self.updates: dict[str, Value] = {}

    def take(self, value) -> Value:
        """One more input."""
        self.taken.append(value)
        self.values[value] = Value(-len(self.taken))
        self._measure(value)
        return self.values[value]

    def _measure(self, value):
        found = value[0].meta.get("val")
        found = found[value[1]] if value[1] is not None else found
        if isinstance(found, torch.Tensor):
            self.shapes.append((self.values[value], found.shape))

    def add(self, node, outs, random=False):
        """One more node, which defines ``outs``."""
        self.nodes.append(node)
        for value in outs:
            self.values[value] = Value(self.count)
            self.count += 1
            self._measure(value)
        self.random |= random

    def op(self, node: fx.Node):
        """One operation."""
        name = _name(node)
        if ops.base(name) is None:
            raise PortError(
                f"{self.all.where(self.part)} uses {node.target}, an op that ports do not have; "
                "catalog/ports/ops.py lists those they do"
            )
        made = node.meta["val"]
        self._refuse_unknown(made, node)
        args = tuple(self.arg(a) for a in node.args)
        kwargs = {k: self.arg(v) for k, v in node.kwargs.items() if k not in _PLACEMENT}
        if name == "native_dropout" and node.args[2] is False:
            raise PortError(f"{self.all.where(self.part)} draws dropout outside training")
        random = ops.draws(name, args)
        if isinstance(made, (list, tuple)):
            self.add(Node(name, args, kwargs, len(made)), [(node, i) for i in range(len(made))], random)
        else:
            self.add(Node(name, args, kwargs), [(node, None)], random)
        for value, buffer in self.all.updates.items():
            if value[0] is node:
                prefix = f"{self.part.path}." if self.part.path else ""
                if not buffer.startswith(prefix):
                    raise PortError(f"{self.all.where(self.part)} updates '{buffer}', a buffer outside it")
                self.updates[buffer[len(prefix) :]] = self.values[value]

    def _refuse_unknown(self, made, node):
        if any(free_unbacked_symbols(m) for m in (made if isinstance(made, (list, tuple)) else [made])):
            raise PortError(
                f"{self.all.where(self.part)}: a size depends on data ({node.target}); use masks or a fixed capacity"
            )

    def arg(self, arg):
        """An argument of ``torch.export`` as one of ours."""
        if isinstance(arg, fx.Node):
            return self.ref(self.all.value(arg))
        if isinstance(arg, (list, tuple)):
            return [self.arg(a) for a in arg]
        if isinstance(arg, torch.dtype):
            return DType(str(arg).removeprefix("torch."))
        if arg is None or isinstance(arg, (bool, int, float, str)):
            return arg
        raise PortError(
            f"{self.all.where(self.part)}: an argument of type {type(arg).__name__} has no form outside PyTorch"
        )

    def ref(self, value):
        """A value as this graph sees it: made here, a leaf of the module, a constant, or one more input."""
        node, _ = value
        if value in self.values:
            return self.values[value]
        if node.op == "placeholder" and node.name in self.all.leaves:
            return self.all.leaf(node, self.part.path) or self.take(value)
        if node.op == "placeholder" and node.name in self.all.lifted:
            return self.all.constant(node)
        if _is_size(node):
            return self.size(node)
        return self.take(value)

    def size(self, node) -> Value:
        """A size, from a tensor at hand that has it, computed from others, or handed in by the caller."""
        expression = node.meta["val"].node.expr
        self._refuse_unknown(node.meta["val"], node)
        if expression in self.sizes:
            return self.sizes[expression]
        for tensor, shape in self.shapes:
            for d, size in enumerate(shape):
                if isinstance(size, torch.SymInt) and size.node.expr == expression:
                    self.add(Node("size", (tensor, d), {}), [(node, None)])
                    self.sizes[expression] = self.values[node, None]
                    return self.sizes[expression]
        if node.target in _INTS:
            args = tuple(self.ref(self.all.value(a)) if isinstance(a, fx.Node) else a for a in node.args)
            self.add(Node(f"int.{_INTS[node.target]}", args, {}), [(node, None)])
        elif node.target is torch.ops.aten.sym_size.int:
            self.take((node, None))
        else:
            raise PortError(f"{self.all.where(self.part)} computes a size by {node.target}, which ports do not have")
        self.sizes[expression] = self.values[node, None]
        return self.sizes[expression]

    def close(self, outputs) -> tuple[Graph, list[Any]]:
        """The finished graph and what its inputs are."""
        count = len(self.taken)

        def final(arg):
            if isinstance(arg, Value):
                return Value(-1 - arg.index if arg.index < 0 else arg.index + count)
            if isinstance(arg, (list, tuple)):
                return type(arg)(final(a) for a in arg)
            return arg

        nodes = tuple(
            n._replace(args=final(n.args)) if isinstance(n, Call)
            else n._replace(args=final(n.args), kwargs={k: final(v) for k, v in n.kwargs.items()})
            for n in self.nodes
        )  # fmt: skip
        updates = {path: final(value) for path, value in self.updates.items()}
        return Graph(
            self.part.kind if self.part.key else "", count, nodes, final(tuple(outputs)), updates, self.random
        ), self.taken


def _names(model) -> dict[str, list[str]]:
    """Every name of each parameter and buffer by each of its names, the first one first."""
    groups: dict[int, list[str]] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        groups.setdefault(id(tensor), []).append(name)
    return {name: groups[id(tensor)] for name, tensor in named}


def _name(node) -> str:
    """An op's name with its overload, as :mod:`catalog.ports.ops` has it."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    return str(node.target).partition(".")[2].removesuffix(".default")


def _is_size(node) -> bool:
    return isinstance(node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool))
