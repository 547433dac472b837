"""A catalog model as a Keras model: layers in the page's own tree, run by the page's own programs.

    model = catalog.load("path/or/hub-id", framework="tf")
    out = model({"input_ids": ids, "attention_mask": mask})        # out["logits"]
    model.backbone.layers[0].attn.q.kernel                         # a keras.Variable, [in, out]

``variable.path`` is the published name and the layout the published one, wherever a published tensor is one of the page's.
Those that do not learn, buffers and batch statistics are not trainable; tied parameters are one variable. Works under
``compile`` and ``fit``, ``tf.function`` with unknown batch and length, ``jit_compile`` and as a SavedModel.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from catalog.errors import PortError, did_you_mean
from catalog.ports.blueprint import Blueprint
from catalog.ports.lower_tf import TABLE
from catalog.ports.lower_tf.elementwise import dtype_of
from catalog.ports.naming_tf import natives
from catalog.ports.request import request
from catalog.ports.run import result, run

_DTYPES = {
    "int32": "int64", "int64": "int64", "uint32": "int64", "bool": "bool", "float32": "float32", "bfloat16": "bfloat16",
    "float16": "float16", "int8": "int8", "uint8": "uint8", "int16": "int16", "float64": "float32",
}  # fmt: skip
# What a page is traced with where a length is unknown: texts fit any model, sound must outlast its convolutions.
_LENGTHS = {"input_values": 4096}
_LENGTH = 8


class Part(keras.layers.Layer):
    """A module of the page: its variables, and the modules inside it. It is run by the model, not by itself."""

    def __init__(self, name: str):
        super().__init__(name=name, autocast=False)
        self.built = True


class Port(keras.Model):
    """A whole model; see the module docstring."""

    framework: ClassVar = "tf"

    def __init__(self, blueprint: Blueprint, values: Mapping[str, Any]):
        """``values``: arrays by our names in PyTorch's layout, of tied ones the first; derived tables are known already."""
        super().__init__(name=blueprint.model.replace("-", "_"), autocast=False)
        self.blueprint = blueprint
        self._natives = natives(blueprint)
        self._held = {
            name: _variable(self._natives[name], values[name], leaf.kind == "parameter")
            for name, leaf in blueprint.leaves.items()
            if leaf.tie is None and leaf.kind != "table"
        }
        tree: dict[str, Any] = {}
        for name, leaf in blueprint.leaves.items():
            if leaf.kind != "table":
                *path, _ = name.split(".")
                here = tree
                for step in path:
                    here = here.setdefault(step, {})
                first = leaf.tie or name
                here[self._natives[first].word] = self._held[first]
        _fill(self, tree)
        self._draws = keras.random.SeedGenerator()
        self.built = True

    def call(self, inputs, training=False):
        """The model's published forward: arguments by their published names in a dictionary, or in order, or the first alone.

        Returns a dictionary of the published fields, those that were computed. ``training`` switches dropout and batch
        statistics on. Raises PortError for arguments that the model does not have.
        """
        arguments = {name: _tensors(value) for name, value in self._bound(inputs).items() if value is not None}
        asked, tensors = self._asked(arguments, bool(training))
        program = self.blueprint.program(asked)
        graph = program.graphs[program.root]
        key = tf.cast(self._draws.next(), tf.int64) if graph.random else None
        given = [tf.cast(tensors[one.path], one.dtype) for one in program.inputs]
        outputs = run(
            program,
            graph,
            given,
            TABLE,
            _Place(self, "", key),
            lambda name: tf.constant(program.constants[name]),
            dtype_of,
        )
        return result(program.outputs, outputs, lambda fields: {k: v for k, v in fields.items() if v is not None})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss that ``compile`` names; without one the model's own, which labels among the inputs ask for."""
        if self._compile_loss is None and isinstance(y_pred, Mapping) and "loss" in y_pred:
            return tf.reduce_sum(y_pred["loss"])
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def values(self) -> dict[str, np.ndarray]:
        """Every leaf that a checkpoint holds, by our name of it, in PyTorch's layout; of tied ones the first."""
        return {name: self._natives[name].back(_numpy(held.value)) for name, held in self._held.items()}

    def named(self, gradients) -> dict[str, np.ndarray]:
        """Gradients of ``trainable_variables``, in their order, by our names and in PyTorch's layout; ``None`` is zero."""
        names = {id(held): name for name, held in self._held.items()}
        found = {}
        for held, gradient in zip(self.trainable_variables, gradients):
            name = names[id(held)]
            array = np.zeros(held.shape, np.float32) if gradient is None else _numpy(tf.convert_to_tensor(gradient))
            found[name] = self._natives[name].back(array)
        return found

    def leaf(self, name: str):
        """The tensor of a leaf in PyTorch's layout, by our name of it."""
        first = self.blueprint.leaves[name].tie or name
        if first in self._held:
            return self._natives[first].turned_back(self._held[first].value)
        return tf.constant(self.blueprint.tables[first])

    def update(self, name: str, value) -> None:
        """Give a buffer a new value; those that change, counts and statistics, have the same layout everywhere."""
        self._held[name].assign(value)

    def prepare(self, inputs, training=False) -> None:
        """Make the program for these inputs now: a graph with unknown sizes is then traced with sizes that fit together."""
        arguments = {name: _tensors(value) for name, value in self._bound(inputs).items() if value is not None}
        self.blueprint.program(self._asked(arguments, training)[0])

    def _bound(self, inputs):
        known, title = self.blueprint.arguments, self.blueprint.title
        if isinstance(inputs, Mapping):
            for name in inputs:
                if name not in known and name not in ("output_hidden_states", "output_attentions"):
                    raise PortError(
                        f"{title} takes no argument '{name}'{did_you_mean(name, known)}; it takes {', '.join(known)}"
                    )
            return dict(inputs)
        given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if len(given) > len(known):
            raise PortError(f"{title} takes {len(known)} arguments, not {len(given)}: {', '.join(known)}")
        return dict(zip(known, given))

    def _asked(self, arguments, training):
        """The request of these arguments, unknown sizes standing open, and their tensors by path."""
        length = max((_LENGTHS.get(name, _LENGTH) for name in arguments), default=_LENGTH)
        asked, shown = request(_stand_ins(arguments, length), training, _DTYPES, self._dtype())
        tensors = {path: _at(arguments, path) for path in shown}
        for path, _, dims in asked.inputs:
            closed = [d for d, n in enumerate(tensors[path].shape) if n is None and dims[d] is not None]
            if closed:
                raise PortError(
                    f"{self.blueprint.title}: dimension {closed[0]} of {path} is unknown, and it shapes the model; "
                    "name it in the input signature"
                )
        return asked, tensors

    def _dtype(self):
        """The type of the parameters, as it is now."""
        for name, leaf in self.blueprint.leaves.items():
            if leaf.kind in ("parameter", "frozen") and leaf.dtype.startswith(("float", "bfloat")):
                return self._held[leaf.tie or name].dtype
        return "float32"


def _stand_ins(value, length):
    if isinstance(value, Mapping):
        return {name: _stand_ins(item, length) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stand_ins(item, length) for item in value]
    if tf.is_tensor(value):
        sizes = [(2 if d == 0 else length) if n is None else n for d, n in enumerate(value.shape)]
        return _Tensor(tuple(sizes), value.dtype.name)
    return value


class _Tensor:
    """Shape and type of a tensor, its unknown sizes filled in."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype


def _at(arguments, path):
    """The tensor at a dotted path among nested arguments."""
    here: Any = arguments
    for step in path.split("."):
        here = here[int(step)] if isinstance(here, (list, tuple)) else here[step]
    return here


def _tensors(value):
    """Arrays, nested ones too, as tensors; Python values as they are."""
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        return tf.convert_to_tensor(value)
    if isinstance(value, Mapping):
        return {name: _tensors(item) for name, item in value.items()}
    return tuple(_tensors(item) for item in value) if isinstance(value, (list, tuple)) else value


def _numpy(tensor):
    return np.asarray(tensor.numpy())


def _variable(native, value, trainable):
    *scopes, word = native.path.split("/")
    array = native.of(np.asarray(value))
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        return keras.Variable(array, dtype=array.dtype.name, trainable=trainable, name=word)


def _fill(part, tree, name=""):
    for word, item in tree.items():
        if isinstance(item, dict):
            inner = f"{name}_{word}" if name else word
            item = _list(item, inner) if all(key.isdigit() for key in item) else _fill(Part(inner), item, inner)
        # Keras keeps some names of a model for itself, `layers` first of all
        setattr(part, f"{word}_" if hasattr(type(part), word) else word, item)
    return part


def _list(tree, name):
    """A stack: numbered modules (a number that holds nothing is an empty module)."""
    items = [tree.get(str(i), {}) for i in range(max(map(int, tree)) + 1)]
    return [
        _fill(Part(f"{name}_{i}"), item, f"{name}_{i}") if isinstance(item, dict) else item
        for i, item in enumerate(items)
    ]


class _Place:
    """Where a graph runs; see :class:`catalog.ports.run.Place`."""

    def __init__(self, model, prefix, key):
        self.model, self.prefix, self.source = model, prefix, key

    def leaf(self, path):
        return self.model.leaf(self.prefix + path)

    def inside(self, path, number):
        return _Place(self.model, f"{self.prefix}{path}.", None if self.source is None else self.key(number))

    def update(self, path, value):
        self.model.update(self.prefix + path, value)

    def key(self, number):
        return tf.random.experimental.stateless_fold_in(self.source, number)


class Face:
    """A Keras port as :class:`catalog.ports.parity.Face`."""

    def __init__(self, port: Port):
        self.port = port

    def forward(self, inputs):
        """One graph serves every batch and length: it is traced with both unknown."""
        self.port.prepare(inputs)
        # Not __call__: Keras lets no flag, such as output_hidden_states, stand among tensors.
        return _traced(inputs, lambda given: self.port.call(given, training=False))

    def step(self, inputs, of):
        """One step of gradient descent, in a graph."""
        from catalog.ports.parity import RATE, flat

        optimizer = keras.optimizers.SGD(RATE)

        def step(given):
            with tf.GradientTape() as tape:
                outputs = flat(self.port(given, training=True))
                total = tf.add_n([_weighed(outputs[n]) for n in of])
            variables = self.port.trainable_variables
            gradients = tape.gradient(total, variables)
            optimizer.apply_gradients((g, v) for g, v in zip(gradients, variables) if g is not None)
            return [tf.zeros_like(v) if g is None else tf.convert_to_tensor(g) for g, v in zip(gradients, variables)]

        optimizer.build(self.port.trainable_variables)
        self.port.prepare(inputs, training=True)
        return self.port.named(_traced(inputs, step))

    def values(self):
        """Every leaf that a checkpoint holds."""
        return self.port.values()


def _weighed(tensor):
    """The sum of a tensor's elements, each times the cosine of its place."""
    flat = tf.reshape(tensor, [-1])
    return tf.reduce_sum(flat * tf.cos(tf.cast(tf.range(tf.size(flat)), flat.dtype)))


def _traced(inputs, function):
    """``function`` of the inputs as a graph in which every open size is unknown."""
    fixed = {n: v for n, v in inputs.items() if isinstance(v, (bool, int, float, str)) or v is None}
    given = {name: _tensors(value) for name, value in inputs.items() if name not in fixed}
    asked, _ = request(_stand_ins(given, _LENGTH), False, _DTYPES)
    open_ = {path: dims for path, _, dims in asked.inputs}

    def signature(value, path):
        if isinstance(value, Mapping):
            return {name: signature(item, f"{path}.{name}") for name, item in value.items()}
        if isinstance(value, tuple):
            return tuple(signature(item, f"{path}.{i}") for i, item in enumerate(value))
        return tf.TensorSpec(open_[path], value.dtype)

    specs = {name: signature(value, name) for name, value in given.items()}
    return tf.function(lambda given: function(given | fixed), input_signature=[specs])(given)
