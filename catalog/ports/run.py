"""Running a program: the same few lines for every framework; what differs is the table of ops and the place of leaves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from catalog.ports import ops
from catalog.ports.ir import Call, Constant, DType, Graph, Leaf, Program, Value


class Place(Protocol):
    """Where a graph runs: a module of the port, with its leaves and its source of random numbers."""

    def leaf(self, path: str) -> Any:
        """A parameter or buffer in PyTorch's layout."""

    def inside(self, path: str, number: int) -> "Place":
        """The place of a module inside; ``number`` tells the calls of one graph apart."""

    def update(self, path: str, value: Any) -> None:
        """Give a buffer a new value."""

    def key(self, number: int) -> Any:
        """A source of random numbers of its own for node ``number``."""


def run(
    program: Program,
    graph: Graph,
    inputs: Sequence[Any],
    table: Mapping[str, Callable],
    place: Place,
    constant: Callable[[str], Any],
    dtype: Callable[[str], Any],
) -> list[Any]:
    """The outputs of ``graph`` on ``inputs``. ``constant`` and ``dtype`` give the framework's form of what a name means."""
    values = list(inputs)

    def real(arg):
        if isinstance(arg, Value):
            return values[arg.index]
        if isinstance(arg, Leaf):
            return place.leaf(arg.path)
        if isinstance(arg, Constant):
            return constant(arg.name)
        if isinstance(arg, DType):
            return dtype(arg.name)
        return [real(a) for a in arg] if isinstance(arg, (list, tuple)) else arg

    for number, node in enumerate(graph.nodes):
        args = [real(a) for a in node.args]
        if isinstance(node, Call):
            inner = place.inside(node.path, number)
            values += run(program, program.graphs[node.graph], args, table, inner, constant, dtype)
            continue
        kwargs = {name: real(a) for name, a in node.kwargs.items()}
        if ops.draws(node.op, node.args):
            kwargs["key"] = place.key(number)
        result = table[ops.base(node.op)](*args, **kwargs)
        if node.outs is None:
            values.append(result)
        else:
            values += result[: node.outs]
    outputs = [real(out) for out in graph.outputs]
    for path, value in graph.updates.items():
        place.update(path, values[value.index])
    return outputs


def result(structure: Any, outputs: Sequence[Any], make: Callable[[dict[str, Any]], Any]) -> Any:
    """A program's outputs nested as the model returns them; ``make`` turns the fields of an output into one."""
    if structure is None:
        return None
    if isinstance(structure, int):
        return outputs[structure]
    if isinstance(structure, Mapping):
        return make({name: result(item, outputs, make) for name, item in structure.items()})
    return tuple(result(item, outputs, make) for item in structure)
