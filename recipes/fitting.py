"""What of a configuration is refused before anything is loaded: number formats, processes, libraries, how a model divides."""

from typing import Any

import catalog
from catalog.loading import local_folder
from recipes.options import ModelOptions
from trainer.precision import Precision
from trainer.strategies import base, context_parallel, mesh, tensor_parallel, zero_config

DIVISIONS = {
    "tp": tensor_parallel.check,
    "cp": context_parallel.check,
}  # a dimension of the mesh: does the model fit it?


def check(config: Any) -> None:
    """Raise the trainer's ``DeviceError`` or ``OptionError`` where a run could not begin, with the nearest that could.

    Reads no data and no weights: of a checkpoint only its ``config.json``.
    """
    Precision(config.precision.dtype, base.pick_device(), config.precision.reduce)
    sizes = {name: size for name, size in mesh.check(config.strategy).items() if name in DIVISIONS}
    if config.strategy.name in zero_config.STAGES:
        zero_config.check(config.strategy, config.precision.dtype)
    if sizes:
        model = outline(config.model)
        for name, size in sizes.items():
            DIVISIONS[name](model, size)


def outline(options: ModelOptions):
    """The backbone of a run without its weights; of a new one without the sizes that the data decides."""
    if options.source is None:
        return catalog.build(options.name, catalog.config(options.name, **options.config), device="meta")
    name, _, config = catalog.read_config(local_folder(options.source))
    return catalog.build(name, config, device="meta")
