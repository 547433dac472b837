"""One process of two: models built without memory, divided by FSDP and filled; compared with the same ones built whole.

``python filling_worker.py FOLDER``: writes FOLDER/out.RANK.json, for each case the names that differ and the bytes read.
"""

import json
import os
import sys
from pathlib import Path

import torch

import catalog
from catalog.filling import Filling
from tests.equivalence import models
from tests.support import training
from trainer.precision import Precision
from trainer.strategies import base, state

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


def divided(model, filling):
    strategy = base.build(training.spread("fsdp"), CPU, Precision("fp32", CPU))
    return strategy.setup(model, filling)


def main(folder):
    folder, out = Path(folder), {}
    for name, head in HEADS.items():
        whole = models.build(name, dtype=torch.float32)
        blank = models.build(name, dtype=torch.float32, device="meta")
        out[f"{name} new"] = [differs(divided(blank, Filling(blank, seed=0)), whole), 0, 0]
        saved = folder / name
        if os.environ["RANK"] == "0":
            with torch.no_grad():
                for p in whole.parameters():
                    p.add_(torch.linspace(0, 1, p.numel()).view_as(p))
            catalog.save(whole, saved)
        torch.distributed.barrier()
        whole = catalog.load(saved, head)
        blank = models.build(name, dtype=torch.float32, device="meta")
        filling = Filling(blank, seed=0, folder=saved)
        wrong = differs(divided(blank, filling), whole)
        size = sum(t.nbytes for t in state.tensors(whole).values())
        out[f"{name} read"] = [wrong, filling.reader.bytes, size]
    (folder / f"out.{os.environ['RANK']}.json").write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
