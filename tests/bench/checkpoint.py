"""What a checkpoint costs training: the loop's stall with saves in the background against saves it waits for, in one run.

    python tests/bench/checkpoint.py FOLDER [--width 768] [--depth 12] [--saves 4] [--write]
    torchrun --standalone --nproc-per-node 2 tests/bench/checkpoint.py FOLDER ...

Trains a GPT-2 of random weights (one process, or fsdp on several) and saves weights and optimizer to FOLDER, by turns
waiting and in the background; between two saves it trains until the background has had time to finish. The stall of a
save is the time that the loop stood in it and, in the background, what it still had to wait for at the next one. The first
save of each kind is left out: memory is taken for it. Nothing is asserted here.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

import catalog
from tests.bench.finetune import processor
from tests.support import training
from trainer.checkpoint.store import Checkpoints
from trainer.precision import Precision
from trainer.step import Stepper
from trainer.strategies import base, processes, state

RESULTS = Path(__file__).parent / "results"


class Language:
    """Next tokens."""

    def counts(self, model, batch):
        return {"loss": batch["input_ids"][:, 1:].numel()}

    def terms(self, model, batch):
        output = model(batch["input_ids"])
        return output, model.terms(output, labels=batch["input_ids"])


def measure(folder, width, depth, saves):
    """Seconds of each save and of the steps around it, and what was saved."""
    device = base.pick_device()
    strategy = base.build(
        training.spread("fsdp" if processes.world() > 1 else "single"), device, Precision("fp32", device)
    )
    sizes = {"vocab": 4096, "width": width, "depth": depth, "heads": width // 64, "positions": 64}
    model = strategy.setup(catalog.build("gpt2", catalog.config("gpt2", **sizes), head="causal-lm", seed=0))
    strategy.optimizer(training.config(lr=1e-4).optim)
    stepper = Stepper(model, Language(), strategy, 1.0)
    store = Checkpoints(folder, keep=2, rank=processes.rank(), gather=processes.channel())
    batch = {"input_ids": torch.randint(0, 4096, (2, 64)), "rows": torch.arange(2)}
    clock, stalls, steps, took = time.perf_counter, {True: [], False: []}, {True: [], False: []}, {True: [], False: []}

    def step():
        began = clock()
        float(stepper([batch], 1e-4).loss)  # waits for the device
        return clock() - began

    step()
    for number in range(2 * saves):
        wait = number % 2 == 0
        tensors = state.flat(strategy.state())
        began = clock()
        path = store.save(number, {}, tensors, wait=wait)
        stall, since = clock() - began, clock()
        enough = 1.5 * max(took[True], default=0)
        while True:
            steps[wait].append(step())
            if strategy.gather(clock() - since)[0] > enough:
                break
        began = clock()
        store.finish()
        stalls[wait].append(stall + clock() - began)
        took[wait].append(store.took)
    nbytes = sum(file.stat().st_size for file in path.iterdir())
    return stalls, steps, took, nbytes, device


def main():
    """Measure, print, and with ``--write`` keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", type=Path, help="an empty or new folder on the disk in question; it is removed afterwards"
    )
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--saves", type=int, default=4)
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/bench/results")
    given = parser.parse_args()
    try:
        stalls, steps, took, nbytes, device = measure(given.folder, given.width, given.depth, given.saves)
    finally:
        if processes.rank() == 0:
            shutil.rmtree(given.folder, ignore_errors=True)
    if processes.rank() > 0:
        return
    middle = {wait: statistics.median(stalls[wait][1:]) for wait in (True, False)}
    result = {
        "date": datetime.date.today().isoformat(),
        "hardware": f"{processor()}, {os.cpu_count()} cores, device {device}, load {os.getloadavg()[0]:.0f}; "
        f"PyTorch {torch.__version__}",
        "processes": processes.world(),
        "bytes": nbytes,
        "stall_blocking": stalls[True][1:],
        "stall_background": stalls[False][1:],
        "written_background": took[False][1:],
        "step_blocking": statistics.median(steps[True]),
        "step_background": statistics.median(steps[False]),
        "share": middle[False] / middle[True],
    }
    text = render(result, middle)
    print(text)
    if given.write:
        (RESULTS / "checkpoint.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "checkpoint.md").write_text(text + "\n")


def render(r, middle):
    """The figures as a page."""
    each = {kind: ", ".join(f"{x:.2f}" for x in r[kind]) for kind in ("stall_blocking", "stall_background")}
    return f"""# Checkpoints: how long training stands still

{r["date"]}, {r["hardware"]}

Weights and optimizer of a GPT-2, {r["bytes"] / 2**20:,.0f} MiB, {r["processes"]} process(es); hashed and flushed to the disk.

| save | stall of the loop, s (median) | each | median step while it is written, s |
|---|---|---|---|
| waited for | {middle[True]:.3f} | {each["stall_blocking"]} | - |
| in the background | {middle[False]:.3f} | {each["stall_background"]} | {r["step_background"]:.3f} |

- stall in the background: **{100 * r["share"]:.1f}%** of the one that is waited for
- a step with nothing written beside it: {r["step_blocking"]:.3f} s (median)

The first save of each kind is left out: memory is taken for it. Written by `tests/bench/checkpoint.py`."""


if __name__ == "__main__":
    main()
