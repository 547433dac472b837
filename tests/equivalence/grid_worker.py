"""One process of several: trains the cells of :mod:`tests.support.strategies_table` for two steps, compared with one process.

``python grid_worker.py FOLDER CELLS``: CELLS is a JSON list of cells. FOLDER holds what one process made of each training
(``alone``); written is FOLDER/out.WORLD.RANK.json, the largest difference of each cell.
"""

import json
import sys
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from tests.equivalence import models
from tests.support import training
from tests.support.strategies_table import Cell
from trainer import memory
from trainer.precision import Precision
from trainer.step import Stepper
from trainer.strategies import base, mesh, processes, state

CPU = torch.device("cpu")
DTYPES = {"float64": ("fp32", torch.float64)}  # what a cell calls it: precision.dtype, and the format of the weights


def trained(cell, strategy):
    """Two steps of a cell: losses, norms and weights, each whole. The last micro batch has one row: others have no share."""
    name, weights = DTYPES.get(cell.dtype, (cell.dtype, torch.float32))
    strategy = base.build(training.spread(strategy, **cell.options), CPU, Precision(name, CPU))
    model = strategy.precision.convert(models.build(cell.model, dtype=weights))
    memory.recompute(model, cell.activations)
    model = strategy.setup(model)
    strategy.optimizer(training.config(lr=0.01, decay=0.1).optim)
    feed = models.Examples(
        cell.model, training.Rows(10 * cell.accumulate - 4), layout=cell.layout, size=5, accumulate=cell.accumulate
    )
    feed.share(*strategy.shard_of_batch())
    stepper = Stepper(model, models.Task(), strategy, 0.5, feed)
    torch.manual_seed(1)  # of the rounding of bf16 weights
    outcomes = [stepper(micros, 0.01) for micros in feed.epoch(0)]
    found = {name: whole(tensor) for name, tensor in state.tensors(model).items()} if cell.exact else {}
    return found | {f"{what} of steps": torch.stack([getattr(o, what) for o in outcomes]) for what in ("loss", "norm")}


def whole(tensor):
    """All of a parameter, of which processes may hold parts; all call this together. A copy: a tied one is written twice."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def alone(folder, cells):
    """What one process makes of the trainings of these cells, into FOLDER."""
    for cell in {cell.training: cell for cell in cells}.values():
        save_file(trained(cell._replace(options={}), "single"), folder / f"{cell.training}.safetensors")


def difference(cell, folder):
    """The largest |a - b| / max(1, |b|) over losses, norms and weights."""
    expected, found = load_file(folder / f"{cell.training}.safetensors"), trained(cell, cell.strategy)
    held = {name for names in processes.gather(list(found)) for name in names}  # each stage of a pipeline has its own
    assert expected.keys() == held, sorted(expected.keys() ^ held)
    pairs = ((a.double(), expected[name].double()) for name, a in found.items())
    each = ((a - b).abs() / b.abs().clamp_min(1.0) for a, b in pairs)
    return float(torch.stack([part.max() for part in each]).max())


def main(folder, cells):
    """Train every cell."""
    mesh.make, folder = cache(mesh.make), Path(folder)  # connections are made once, not for each cell
    found = [difference(Cell(**cell), folder) for cell in json.loads(cells)]
    (folder / f"out.{processes.world()}.{processes.rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
