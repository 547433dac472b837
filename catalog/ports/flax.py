"""A catalog model as a Flax module: ``nnx.Module``s in the page's own tree, run by the page's own programs.

    model = catalog.load("path/or/hub-id", framework="flax")
    out = model(input_ids, attention_mask)                         # out.logits
    model.backbone.layers[0].attn.q.kernel                         # nnx.Param, [in, out]

Parameters are ``nnx.Param``; those that do not learn ``Frozen``; batch statistics ``nnx.BatchStat``; other tensors
``Buffer``. Tied parameters are one ``nnx.Param``. Works under ``nnx.jit``, ``nnx.grad`` and optax.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from catalog.errors import PortError, did_you_mean
from catalog.ports import naming
from catalog.ports.blueprint import Blueprint
from catalog.ports.ir import Program
from catalog.ports.lower_jax import TABLE
from catalog.ports.lower_jax.elementwise import dtype_of
from catalog.ports.request import request
from catalog.ports.run import result, run

_DTYPES = {
    "int32": "int64", "int64": "int64", "uint32": "int64", "bool": "bool", "float32": "float32", "bfloat16": "bfloat16",
    "float16": "float16", "int8": "int8", "uint8": "uint8", "int16": "int16", "float64": "float32",
}  # fmt: skip


_LIST = getattr(nnx, "List", list)  # before Flax 0.12 a plain list did


class Frozen(nnx.Variable):
    """A parameter that does not learn."""


class Buffer(nnx.Variable):
    """A tensor that is no parameter."""


_KINDS = {"parameter": nnx.Param, "frozen": Frozen, "statistic": nnx.BatchStat, "buffer": Buffer, "table": Buffer}


@jax.tree_util.register_pytree_with_keys_class
class Output(dict):
    """What a port returns: the published fields, read as ``out.logits`` or ``out["logits"]``; those not computed are absent
    from the dictionary and ``None`` as attributes."""

    def __init__(self, fields: Mapping[str, Any], absent: tuple[str, ...] = ()):
        super().__init__({name: value for name, value in fields.items() if value is not None})
        self.absent = (*absent, *(name for name, value in fields.items() if value is None))

    def __getattr__(self, name):
        if name in self:
            return self[name]
        if name in self.__dict__.get("absent", ()):
            return None
        raise AttributeError(f"no output '{name}'; there are {', '.join(self)}")

    def tree_flatten_with_keys(self):
        """For JAX."""
        return [(jax.tree_util.DictKey(k), v) for k, v in self.items()], (tuple(self), self.absent)

    @classmethod
    def tree_unflatten(cls, known, values):
        """For JAX."""
        names, absent = known
        made = cls({}, absent)
        dict.update(made, zip(names, values))
        return made


class Part(nnx.Module):
    """A module of the page: its leaves under Flax's names, and the modules inside it."""


class Port(Part):
    """A whole model; see the module docstring."""

    framework: ClassVar = "flax"

    def __init__(self, blueprint: Blueprint, values: Mapping[str, Any]):
        """``values``: arrays by our names in PyTorch's layout, of tied ones the first; derived tables are known already."""
        made: dict[str, nnx.Variable] = {}
        for name, leaf in blueprint.leaves.items():
            if leaf.tie is not None:
                continue
            array = blueprint.tables[name] if leaf.kind == "table" else values[name]
            array = naming.flax(name, leaf).of(jnp.asarray(array))
            made[name] = _KINDS[leaf.kind](array)
        tree: dict[str, Any] = {}
        for name, leaf in blueprint.leaves.items():
            *path, _ = name.split(".")
            here = tree
            for step in path:
                here = here.setdefault(step, {})
            first = leaf.tie or name
            here[naming.flax(first, blueprint.leaves[first]).name] = made[first]
        _fill(self, tree)
        self.blueprint = blueprint

    def __call__(self, *inputs, train: bool = False, rngs: nnx.Rngs | None = None, **named):
        """The model's published forward: arguments by their published names, an :class:`Output` of published fields.

        ``train`` switches dropout and batch statistics on, as ``model.train()`` does in PyTorch; dropout draws from
        ``rngs`` (its stream ``dropout``, else ``default``). Raises PortError for arguments the model does not have.
        """
        program, tensors = self._program(self._bound(inputs, named), train)
        _check_sizes(self.blueprint.title, program, tensors)
        graph = program.graphs[program.root]
        key = _key(rngs, self.blueprint.title) if graph.random else None
        place = _Place(self, self.blueprint, "", key)
        outputs = run(
            program, graph, [tensors[i.path] for i in program.inputs], TABLE, place,
            lambda name: jnp.asarray(program.constants[name]), dtype_of,
        )  # fmt: skip
        return result(program.outputs, outputs, Output)

    def prepare(self, *inputs, train: bool = False, **named) -> Program:
        """The program that a call with these arguments runs, made if there is none yet, and nothing run."""
        return self._program(self._bound(inputs, named), train)[0]

    def _program(self, arguments, train):
        arrays = {name: jax.tree.map(_array, value) for name, value in arguments.items()}
        asked, tensors = request(arrays, train, _DTYPES, self._dtype())
        return self.blueprint.program(asked), tensors

    def values(self) -> dict[str, np.ndarray]:
        """Every leaf that a checkpoint holds, by our name of it, in PyTorch's layout; of tied ones the first."""
        found = {}
        for name, leaf in self.blueprint.leaves.items():
            if leaf.tie is None and leaf.kind != "table":
                array = np.asarray(variable(self, name, self.blueprint)[...])
                found[name] = naming.flax(name, leaf).back(array)
        return found

    def named(self, state: nnx.State) -> dict[str, np.ndarray]:
        """The arrays of a state of this model's parameters (gradients, say) by our names, in PyTorch's layout."""
        known = {naming.flax_path(n, leaf): n for n, leaf in self.blueprint.leaves.items() if leaf.tie is None}
        found = {}
        for path, held in nnx.to_flat_state(state):
            name = known[".".join(map(str, path))]
            found[name] = naming.flax(name, self.blueprint.leaves[name]).back(np.asarray(held[...]))
        return found

    def _bound(self, inputs, named):
        known = self.blueprint.arguments
        if len(inputs) > len(known):
            raise PortError(
                f"{self.blueprint.title} takes {len(known)} arguments, not {len(inputs)}: {', '.join(known)}"
            )
        arguments = dict(zip(known, inputs))
        for name, value in named.items():
            if name in arguments:
                raise PortError(f"{self.blueprint.title}: {name} is given twice")
            if name not in known and name not in ("output_hidden_states", "output_attentions"):
                raise PortError(
                    f"{self.blueprint.title} takes no argument '{name}'{did_you_mean(name, known)}; it takes {', '.join(known)}"
                )
            arguments[name] = value
        return arguments

    def _dtype(self):
        """The type of the parameters, as it is now."""
        for name, leaf in self.blueprint.leaves.items():
            if leaf.kind in ("parameter", "frozen") and leaf.dtype.startswith(("float", "bfloat")):
                return str(variable(self, name, self.blueprint).dtype)
        return "float32"


def _array(value):
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def _fill(part, tree):
    for name, item in tree.items():
        if isinstance(item, dict):
            item = _list(item) if all(key.isdigit() for key in item) else _part(item)
        setattr(part, name, item)
    return part


def _part(tree):
    return _fill(Part(), tree)


def _list(tree):
    """A stack: numbered modules (a number that holds nothing is an empty module)."""
    count = max(map(int, tree)) + 1
    items = [tree.get(str(i), {}) for i in range(count)]
    return _LIST([item if isinstance(item, nnx.Variable) else _part(item) for item in items])


def variable(model: Port, name: str, blueprint: Blueprint) -> nnx.Variable:
    """The variable of a leaf by our name of it, tied ones included."""
    first = blueprint.leaves[name].tie or name
    *path, _ = name.split(".")
    here: Any = model
    for step in path:
        here = here[int(step)] if step.isdigit() else getattr(here, step)
    return getattr(here, naming.flax(first, blueprint.leaves[first]).name)


class _Place:
    """Where a graph runs; see :class:`catalog.ports.run.Place`."""

    def __init__(self, model, blueprint, prefix, key):
        self.model, self.blueprint, self.prefix, self.source = model, blueprint, prefix, key

    def leaf(self, path):
        name = self.prefix + path
        first = self.blueprint.leaves[name].tie or name
        return naming.flax(first, self.blueprint.leaves[first]).back(variable(self.model, name, self.blueprint)[...])

    def inside(self, path, number):
        key = None if self.source is None else jax.random.fold_in(self.source, number)
        return _Place(self.model, self.blueprint, f"{self.prefix}{path}.", key)

    def update(self, path, value):
        held = variable(self.model, self.prefix + path, self.blueprint)
        held[...] = value.astype(held.dtype)

    def key(self, number):
        return jax.random.fold_in(self.source, number)


def _key(rngs, title):
    if rngs is None:
        raise PortError(f"{title} draws dropout here: pass rngs=nnx.Rngs(seed), or train=False")
    return rngs["dropout"]() if "dropout" in rngs else rngs()


def _check_sizes(title, program, tensors):
    """Refuse sizes beyond those that the program holds for, naming input and dimension."""
    for given in program.inputs:
        for d, (size, dim) in enumerate(zip(tensors[given.path].shape, given.dims)):
            if isinstance(dim, tuple) and (size < dim[0] or (dim[1] is not None and size > dim[1])):
                most = "" if dim[1] is None else f" and at most {dim[1]}"
                raise PortError(f"{title}: dimension {d} of {given.path} is {size}; it must be at least {dim[0]}{most}")
