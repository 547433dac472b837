"""One process of several: real optimizer steps of tiny models, and what they took, as ``trainer.plan`` counts it.

``python measured.py FOLDER CELLS``: CELLS is a JSON list of dicts with ``model``, ``strategy``, ``options``, ``dtype``,
``accumulate`` and ``activations``. Writes FOLDER/out.RANK.json.
"""

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import torch

from tests.equivalence import models
from tests.support import training
from trainer import formats
from trainer.options import ClusterOptions
from trainer.plan.watch import Watch

ROWS = 5


def options(cell, gpus=1):
    """The options of a cell, with those that only a plan reads."""
    made = training.config(
        strategy=training.spread(cell["strategy"], **cell.get("options", {})), dtype=cell.get("dtype", "fp32"),
        activations=cell.get("activations", "none"), reduce=cell.get("reduce"),
    )  # fmt: skip
    values = {field.name: getattr(made, field.name) for field in fields(made)}
    values["batch"] = SimpleNamespace(accumulate=cell.get("accumulate", 1), tokens=None, size=ROWS)
    values["model"] = SimpleNamespace(head=None)
    values["cluster"] = ClusterOptions(nodes=1, gpus=gpus, gpu="h100")
    return SimpleNamespace(**values)


def feed(cell):
    """Its examples."""
    return models.Examples(cell["model"], training.Rows(37), size=ROWS)


def table(states, seen):
    """States and additive figures as JSON has them."""
    return {
        "states": {what: dict(found) for what, found in states.items()},
        "flops": {" ".join(key): n for key, n in seen.flops.items()},
        "sent": {f"{kind} {list(ranks)}": n for (kind, ranks), n in seen.sent.items()},
        "calls": {f"{kind} {list(ranks)}": n for (kind, ranks), n in seen.calls.items()},
    }


def run(cell, folder):
    """One step of a cell on this process."""
    made = training.trainer(
        folder, task=models.Task(), net=models.build(cell["model"], dtype=torch.float32), options=options(cell),
        feed=feed(cell), evals={},
    )  # fmt: skip
    made.strategy.optimizer(made.options.optim)
    made.model.train()
    batch, watch = made.train.worst(), Watch()
    watch.hold([*made.model.parameters(), *made.model.buffers()] if cell["strategy"] == "ddp" else [])
    before = sum(p.nbytes for p in map(local, made.model.parameters()))
    with watch:
        made.stepper.gradients([batch] * cell.get("accumulate", 1))
        made.strategy.clip(made.options.train.clip)
    with formats.watched(made.model) as states:
        made.strategy.update(0.01, torch.zeros(()))
    return {**table(states, watch.seen), "weights": before}


def local(tensor):
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def main(folder, cells):
    """Run every cell."""
    folder = Path(folder)
    found = [run(cell, folder / str(i)) for i, cell in enumerate(json.loads(cells))]
    (folder / f"out.{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
