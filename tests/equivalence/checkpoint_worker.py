"""One process of several: trains a tiny GPT-2 (tied embeddings) in float64, saves it, takes up what others have saved.

``python checkpoint_worker.py FOLDER PLAN``: PLAN is a JSON list of cells, run one after the other in the same processes. A
cell is ``{"name", "strategy"}`` and, by choice, ``load`` (a folder of checkpoints to go on from), ``save`` (one to save to
after three steps, or after the steps that follow ``load``), ``background`` and ``kill`` (the rank that dies while it saves).
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import catalog
from tests.support import training
from trainer import optim
from trainer.checkpoint import files
from trainer.checkpoint.store import Checkpoints
from trainer.errors import DataError
from trainer.precision import Precision
from trainer.step import Stepper
from trainer.strategies import base, processes, state
from trainer.strategies.blocks import blocks
from trainer.strategies.single import Single

STEPS, CPU = 3, torch.device("cpu")


def gpt2(depth=2, hidden=30):
    """Sizes that four processes do not divide evenly."""
    torch.manual_seed(0)
    sizes = {"vocab": 33, "width": 16, "depth": depth, "heads": 4, "hidden": hidden, "positions": 16}
    config = catalog.config("gpt2", **sizes, dropout=0.0, attn_dropout=0.0, embed_dropout=0.0)
    return catalog.build("gpt2", config, head="causal-lm", dtype=torch.float64)


class Language:
    """Next tokens."""

    def counts(self, model, batch):
        return {"loss": batch["input_ids"][:, 1:].numel()}

    def terms(self, model, batch):
        output = model(batch["input_ids"])
        return output, model.terms(output, labels=batch["input_ids"])


class ByHand(Single):
    """Every MLP by rows and columns, on a mesh that no strategy makes; all processes compute the same batch."""

    def setup(self, model):
        super().setup(model)
        mesh = init_device_mesh("cpu", (processes.world(),))
        for block in blocks(model).values():
            parallelize_module(block, mesh, {"mlp.up": ColwiseParallel(), "mlp.down": RowwiseParallel()})
        return model

    def clip(self, max_norm):
        return torch.zeros(())

    def optimizer(self, options):
        groups = optim.groups(self.model, options.decay)
        self.optim = torch.optim.AdamW(groups, betas=options.betas, eps=options.eps, foreach=False)  # some are DTensors


def build(name):
    """The strategy of a cell."""
    if name == "by hand":
        processes.join()
        return ByHand(training.spread("single"), CPU, Precision("fp32", CPU))
    return base.build(training.spread(name), CPU, Precision("fp32", CPU))


def batch(step, strategy):
    """Eight rows of the step, of which this process has a share."""
    ids = torch.randint(0, 33, (8, 7), generator=torch.Generator().manual_seed(step))
    index, of = strategy.shard_of_batch()
    return {"input_ids": ids[index::of], "rows": torch.arange(8)[index::of]}


def die(rank):
    """Let this process be killed in the middle of the next file it writes, if it is the one."""
    write = files.write

    def dying(path, chunks):
        if processes.rank() == rank:
            path.write_bytes(next(iter(chunks)))
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path, chunks)

    files.write = dying


def run(cell, folder):
    """The losses of the steps of a cell, by their number."""
    strategy = build(cell["strategy"])
    model = strategy.setup(gpt2(**cell.get("sizes", {})))
    strategy.optimizer(training.config(lr=0.01).optim)
    stepper, losses, at, world = Stepper(model, Language(), strategy, None), {}, 0, processes.world()

    def train(steps):
        for step in range(at, at + steps):
            losses[step] = float(stepper([batch(step, strategy)], 0.01).loss)
        return at + steps

    if "load" in cell:
        store = Checkpoints(folder / cell["load"], rank=processes.rank(), gather=processes.channel())
        path, _ = store.newest_valid()
        saved = store.load(path)
        before = {name: tensor.clone() for name, tensor in state.tensors(model).items()}
        try:
            strategy.load(saved)
        except DataError as error:
            same = all(torch.equal(tensor, before[name]) for name, tensor in state.tensors(model).items())
            return {"refused": str(error), "unchanged": same}
        at = saved.values()["step"]
    at = train(STEPS)
    if "save" in cell:
        store = Checkpoints(folder / cell["save"], rank=processes.rank(), gather=processes.channel())
        wait = not cell.get("background")
        if "kill" in cell:
            store.save(at - 1, {"step": at}, state.flat(strategy.state()))
            die(cell["kill"])
        store.save(at, {"step": at, "rank": processes.rank()}, state.flat(strategy.state()), wait=wait)
        at = train(STEPS)
        store.finish()
    return {"losses": losses, "world": world, "names": sorted(state.flat(strategy.state()))}


def main(folder, plan):
    """Run every cell and write FOLDER/NAME.RANK.json."""
    folder = Path(folder)
    for cell in json.loads(plan):
        (folder / f"{cell['name']}.{processes.rank()}.json").write_text(json.dumps(run(cell, folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
