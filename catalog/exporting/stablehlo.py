"""StableHLO of the Flax port: ``jax.export.deserialize`` reads the file, JAX alone runs it."""

from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import PortError
from catalog.exporting.sample import Sample
from catalog.ports import export, stablehlo
from catalog.ports.flax import Port


def write(model, sample: Sample, path: Path, facts: dict[str, Any]) -> None:
    """Write ``path``; the file has no room for ``facts``."""
    if sample.flags:
        raise PortError(f"{facts['model']}: {', '.join(sample.flags)}: StableHLO files take arrays by name")
    port = model if isinstance(model, Port) else Port(export.blueprint(model), export.values(model))
    stablehlo.save(port, path, {name: export.to_numpy(tensor) for name, tensor in sample.tensors.items()})


def opened(path: Path):
    """The file as a function from arrays by input name to arrays by output name."""
    call = stablehlo.load(path)
    return lambda arrays: {name: np.asarray(array) for name, array in call(arrays).items()}
