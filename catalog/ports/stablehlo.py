"""A Flax port as one file of StableHLO, weights inside: what serves it needs JAX and nothing of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from catalog.errors import LoadError, PortError
from catalog.ports.files import replace
from catalog.ports.flax import Port
from catalog.ports.ir import Input


def save(port: Port, path: str | Path, inputs: Mapping[str, Any]) -> Path:
    """Write the way of calling that ``inputs`` (arrays by published name) show, evaluation mode; returns the path.

    Dimensions that the port leaves open (the batch, the length of texts) stay open in the file. Raises PortError where the
    port cannot be called so.
    """
    path, given = Path(path), {name: np.asarray(array) for name, array in inputs.items()}
    program = port.prepare(**given)
    towers = {"text_config", "vision_config"} <= port.blueprint.config.keys()
    letters = {i.path: _letters(i, towers) for i in program.inputs}
    least = {letter: size[0] for i in program.inputs for letter, size in zip(letters[i.path], i.dims)
             if not isinstance(size, int) and size[0] > 1}  # fmt: skip
    scope = jax_export.SymbolicScope([f"{letter} >= {size}" for letter, size in least.items()])
    shapes = {path: jax_export.symbolic_shape(", ".join(words), scope=scope) for path, words in letters.items()}
    nested = [i.path for i in program.inputs if "." in i.path]
    if nested:
        raise PortError(f"{port.blueprint.title}: {nested[0]} is nested; StableHLO files take arrays by name")
    types = {
        name: jax.ShapeDtypeStruct(shapes[name], jax.dtypes.canonicalize_dtype(given[name].dtype)) for name in shapes
    }
    exported = jax_export.export(jax.jit(lambda arrays: _flat(port(**arrays))))(types)
    replace(path, lambda aside: aside.write_bytes(exported.serialize()))
    return path


def _flat(out):
    """Outputs by dotted names: a file holds no classes of ours."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(out)}  # fmt: skip


def load(path: str | Path):
    """The function of a file that :func:`save` wrote: arrays by name in, outputs by (dotted) name out."""
    path = Path(path)
    try:
        return jax_export.deserialize(bytearray(path.read_bytes())).call
    except OSError as error:
        raise LoadError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:
        raise LoadError(
            f"{path}: not a StableHLO file of JAX's ({type(error).__name__}); export the model again"
        ) from None


def _letters(given: Input, towers: bool) -> list[str]:
    """Sizes, open ones as letters: the batch is one in all inputs, and so is the length of texts; a decoder has its own
    length, and of two towers each has its own batch."""
    batch = "i" if towers and given.path == "pixel_values" else "b"
    length = "u" if given.path.startswith("decoder_") else "t"
    letters = [batch if d == 0 else length if len(given.dims) == 2 else f"n{d}" for d in range(len(given.dims))]
    return [str(size) if isinstance(size, int) else letter for size, letter in zip(given.dims, letters)]
