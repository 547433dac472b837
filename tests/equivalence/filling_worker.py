"""One process of several: models built without memory, divided and filled; compared with the same ones built whole.

``python filling_worker.py FOLDER STRATEGIES``: writes FOLDER/out.WORLD.RANK.json, for each case ``MODEL STRATEGY`` the names
that differ in new weights, those that differ in weights read from a file, the bytes read and those of the model.
"""

import json
import sys
from copy import deepcopy
from pathlib import Path

import torch

import catalog
from catalog.filling import Filling
from tests.equivalence import models
from tests.support import training
from trainer.precision import Precision
from trainer.strategies import base, processes, state

CPU = torch.device("cpu")
HEADS = {
    "bert": "masked-lm",
    "gpt2": "causal-lm",
    "llama": "causal-lm",
    "t5": "seq2seq-lm",
    "vit": "image-classification",
}


def differs(model, whole):
    """Names of tensors that are not, to the bit, those of ``whole``."""
    expected = state.tensors(whole)
    found = {name: t.full_tensor() if hasattr(t, "full_tensor") else t for name, t in state.tensors(model).items()}
    assert expected.keys() == found.keys()
    return [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]


def divided(strategy, name, folder=None):
    """The model built without memory and divided, and how it was filled."""
    strategy = base.build(training.spread(strategy), CPU, Precision("fp32", CPU))
    blank = models.build(name, dtype=torch.float32, device="meta")
    filling = Filling(blank, seed=0, folder=folder)
    return strategy.setup(blank, filling), filling


def main(folder, strategies):
    folder, out, rank = Path(folder), {}, processes.rank()
    processes.join()
    for name, head in HEADS.items():
        new, saved = models.build(name, dtype=torch.float32), folder / name
        if rank == 0:
            moved = deepcopy(new)
            with torch.no_grad():
                for p in moved.parameters():
                    p.add_(torch.linspace(0, 1, p.numel()).view_as(p))
            catalog.save(moved, saved)
        torch.distributed.barrier()
        whole = catalog.load(saved, head)
        size = sum(t.nbytes for t in state.tensors(whole).values())
        for strategy in strategies.split(","):
            drawn, _ = divided(strategy, name)
            read, filling = divided(strategy, name, saved)
            out[f"{name} {strategy}"] = [differs(drawn, new), differs(read, whole), filling.reader.bytes, size]
    (folder / f"out.{processes.world()}.{rank}.json").write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
