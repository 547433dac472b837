"""A SavedModel of the TensorFlow port: the file needs TensorFlow alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from catalog.exporting.sample import Sample
from catalog.ports import export
from catalog.ports.keras import Port
from catalog.ports.request import rebuild


def write(model, sample: Sample, path: Path, facts: dict[str, Any]) -> None:
    """Write the folder ``path``: one signature, ``serving_default``, of tensors by name; facts in ``assets.extra``."""
    port = model if isinstance(model, Port) else Port(export.blueprint(model), export.values(model))
    arrays = {name: export.to_numpy(tensor) for name, tensor in sample.tensors.items()}
    port.prepare(rebuild(arrays) | sample.flags)  # with sizes that fit together; the graph below knows none
    specs = {
        name: tf.TensorSpec([n if isinstance(n, int) else None for n in axes], arrays[name].dtype, name)
        for name, axes in sample.axes.items()
    }
    module = tf.Module()
    module.parts = [held.value for held in port.variables]
    module.serve = tf.function(
        lambda **tensors: sample.outputs(port(rebuild(tensors) | sample.flags, training=False)), autograph=False
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve.get_concrete_function(**specs)})
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "export.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def opened(path: Path):
    """The file as a function from arrays by input name to arrays by output name."""
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def call(arrays):
        assert loaded is not None  # variables live as long as it does
        out = serve(**{name: tf.constant(array) for name, array in arrays.items()})
        return {name: np.asarray(tensor) for name, tensor in out.items()}

    return call
