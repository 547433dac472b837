"""One process of several: trains tiny models as the cells of a plan say, and writes what came of each as JSON.

``python worker.py FOLDER PLAN``: PLAN is a JSON list of cells, run one after the other in the same processes. A cell is a
dict with ``name`` and ``folder``, and by choice

    strategy    its name; one process is always ``single``
    options     fields of ``StrategyOptions`` beside the name, as {"reshard": false}
    sections    fields of other options, as {"memory": {"activations": "full"}}
    model       one of :mod:`tests.equivalence.models`; without it a BERT that classifies, fed by the engine
    dtype       of its weights, by choice another than float64
    poison      (step, "loss" or "gradient"): what of this step is not finite
    sizes       of that model, where they are others
    kind layout tokens size accumulate clip    of the training
    stop resume    a signal after so many steps; going on with what is in the folder
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.distributed.tensor import DTensor

import catalog
from recipes.text_classification import TextClassification
from tests.equivalence import models
from tests.support import training
from trainer import options
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.dataset import Ragged
from trainer.data.loader import Loader
from trainer.errors import Stopped

FIELDS = (Field("input_ids", "token"), Field("labels", "row"))


class Held:
    """Rows of the tests as a data set of the engine; the labels of ``Rows`` or numbers."""

    def __init__(self, n, seed, regression=False):
        self.kept = training.Rows(n, seed)
        self.lengths = np.array([len(ids) for ids in self.kept.ids], dtype=np.int32)
        self.labels = np.array(self.kept.labels, dtype=np.float32 if regression else np.int64)
        if regression:
            self.labels += np.random.default_rng(seed).normal(size=n).astype(np.float32)

    digest = "rows of the tests"

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        return {"input_ids": self.kept.ids[i], "labels": self.labels[i].item()}

    def rows(self, ids):
        return [self[i] for i in ids]

    def columns(self, rows):
        ids = [self.kept.ids[i] for i in rows]
        values = np.array([token for row in ids for token in row], dtype=np.int64)
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        return {"input_ids": Ragged(values, lengths), "labels": self.labels[np.asarray(rows, dtype=np.int64)]}

    def where(self, i):
        return f"row {i}"


def bert(kind):
    """A BERT of two layers in float64 without dropout; ``kind`` gives classes or one number."""
    torch.manual_seed(0)
    labels = {"regression": ["score"]}.get(kind, ["a", "b", "c"])
    config = catalog.config(
        "bert", vocab=training.VOCAB, width=16, depth=2, heads=2, hidden=32, positions=16, dropout=0.0,
        attn_dropout=0.0, labels=tuple(labels),
    )  # fmt: skip
    return catalog.build("bert", config, head="sequence-classification", dtype=torch.float64)


def settings(cell):
    """The options of a cell's loop."""
    strategy = training.spread("single")
    if "WORLD_SIZE" in os.environ:
        strategy = training.spread(cell.get("strategy", "ddp"), **cell.get("options", {}))
    made = training.config(
        epochs=2, clip=cell.get("clip", 0.5), lr=0.01, save_every=4, keep=9, strategy=strategy, decay=0.1
    )
    changes = {name: replace(getattr(made, name), **fields) for name, fields in cell.get("sections", {}).items()}
    return replace(made, **changes)


def of_model(folder, cell):
    """The trainer of a cell that names a model. 37 rows: the last batch has one, and only the first process a share."""
    name, rows = cell["model"], training.Rows(37)
    return training.trainer(
        folder, task=models.Task(), options=settings(cell),
        net=models.build(name, getattr(torch, cell.get("dtype", "float64")), **cell.get("sizes", {})),
        feed=models.Examples(name, rows, size=4, accumulate=cell.get("accumulate", 1), seed=3),
        evals={"dev": models.Examples(name, training.Rows(21, seed=9), size=4)},
    )  # fmt: skip


def trainer(folder, cell):
    """The trainer of a cell. Row 9 of 37 makes batches of one row: with two processes one has nothing to compute."""
    if "model" in cell:
        return of_model(folder, cell)
    kind = cell.get("kind", "classes")
    batch = options.BatchOptions(
        layout=cell.get("layout", "unpadded"), tokens=cell.get("tokens"), size=cell.get("size"), max_length=8,
        accumulate=cell.get("accumulate", 1),
    )  # fmt: skip
    data, dev = Held(37, 0, kind == "regression"), Held(21, 9, kind == "regression")
    if kind == "classes":
        task = TextClassification(["a", "b", "c"], ["accuracy", "matthews"])
    else:
        task = TextClassification(None, ["spearman", "pearson"])
    made = training.trainer(
        folder, task=task, net=bert(kind),
        feed=Loader(data, BatchPlan(data.lengths, batch, 3), Collate(FIELDS, batch), workers=0),
        evals={"dev": Loader(dev, BatchPlan(dev.lengths, batch, None), Collate(FIELDS, batch), workers=0)},
        options=settings(cell),
    )  # fmt: skip
    return made


def spied(made, stop_at=None):
    """Notes the rows that this process computes in each optimizer step; sends SIGTERM to the last one at ``stop_at``."""
    seen, inner = [], made.train.epoch

    def epoch(number, start=0):
        for micros in inner(number, start):
            seen.append([micro["rows"].tolist() for micro in micros])
            if stop_at and len(seen) == stop_at + 1 and made.strategy.rank == made.strategy.world - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield micros

    made.train.epoch = epoch
    return seen


def poisoned(made, step, what):
    """Makes one thing of an optimizer step NaN; before step 0 there is the look at the largest batch."""
    gradients, backward, calls = made.stepper.gradients, made.strategy.backward, []

    def watched(micros):
        calls.append(len(micros))
        found = gradients(micros)
        return found * float("nan") if what == "loss" and len(calls) == step + 1 else found

    def bad(loss):
        backward(loss * float("nan") if what == "gradient" and len(calls) == step + 1 else loss)

    made.stepper.gradients, made.strategy.backward = watched, bad


def run(cell, folder):
    """Train a cell; what it gave, the same for every process but ``rows``."""
    made = trainer(folder / cell["folder"], cell)
    rows, stopped = spied(made, cell.get("stop")), None
    if "poison" in cell:
        poisoned(made, *cell["poison"])
    try:
        made.fit(resume=cell.get("resume", False))
    except Stopped as e:
        stopped = str(e).split("\n")[0].split(" in ")[0]
    log = folder / cell["folder"] / "log.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    fields = ("loss", "grad_norm", "lr", "tokens", "examples")
    return {
        "stopped": stopped,
        "rows": rows[1:],  # the first batch is that of the look at the loss at step 0
        "steps": {str(e["step"]): [e[f] for f in fields] for e in events if e["event"] == "step"},
        "evals": [{k: v for k, v in e.items() if k not in ("time", "seconds")} for e in events if e["event"] == "eval"],
        "loss_at_0": [e["loss_at_0"] for e in events if e["event"] == "check" and "loss_at_0" in e],
        "weights": weights(made),
        "predictions": made.predict(made.evals["dev"]),
    }


def weights(made):
    """The numbers of every tensor of the model, by name, of all stages."""
    held = {name: whole(p).flatten().tolist() for name, p in made.strategy.state()["model"].items()}
    return {name: numbers for part in made.strategy.gather(held) for name, numbers in part.items()}


def whole(tensor):
    """All of a parameter, of which processes may hold parts; all call this together."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def main(folder, plan):
    """Run every cell and write FOLDER/out.RANK.json."""
    torch.use_deterministic_algorithms(True)
    folder = Path(folder)
    results = {cell["name"]: run(cell, folder) for cell in json.loads(plan)}
    (folder / f"out.{os.environ.get('RANK', 'one')}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
