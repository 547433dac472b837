"""What padding costs: the same fine-tuning through our loop in several layouts, on real SST-2.

    python tests/bench/finetune.py DATA [--rows 1024] [--epochs 2] [--seeds 3] [--size 32] [--out FOLDER]

DATA is a folder with train.tsv and dev.tsv. BERT of 4 layers x 256 from new weights. The arms of one seed run one after
the other, in an order that turns from seed to seed; figures are medians over seeds, speeds are told as ratios to an arm
of the same seed. Nothing is asserted here.

Speed is examples over seconds between the first step and the last, twice: by the wall, and by the time that processors
worked for this process, which on a machine that others use too is the steadier one.

  (a) padded     every row to 128            (b) longest    each random batch to its longest row
  (c) unpadded   the same batches end to end     bucketed   batches of like lengths

``bare`` is forward, backward, clipping and optimizer on the batches of ``unpadded``, made beforehand: what the loop adds.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

import catalog
from catalog.processors import text
from recipes.glue import TASKS
from recipes.text_classification import Features, TextClassification, fields
from trainer import optim, options
from trainer.console import Console
from trainer.data import sources
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate
from trainer.data.loader import Loader
from trainer.data.prepare import prepare
from trainer.loop import Trainer
from trainer.step import to_device

GLUE, LENGTH, VOCAB = TASKS["sst2"], 128, 8000
MODEL = {"width": 256, "depth": 4, "heads": 4, "hidden": 1024, "positions": LENGTH}
ARMS = {  # how rows become batches, how batches become tensors
    "padded": ("padded", "padded"),
    "longest": ("unpadded", "bucketed"),
    "unpadded": ("unpadded", "unpadded"),
    "bucketed": ("bucketed", "bucketed"),
}


class Clock:
    """A tracker that notes wall-clock and processor seconds from before the first step to the last one."""

    def __init__(self):
        self.seconds = self.cpu = 0.0

    def log(self, name, fields):
        """See :class:`trainer.tracking.base.Tracker`."""
        now = time.perf_counter(), time.process_time()
        if name == "lr":
            self.began = now
        elif name == "step":
            self.seconds, self.cpu = (b - a for a, b in zip(self.began, now))

    def close(self):
        """Nothing to close."""


class Bench:
    """Data, vocabulary and the way to make a model, for one set of arguments."""

    def __init__(self, args):
        self.args = args
        found = {
            split: sources.read(files, columns=[*GLUE.text, "label"])
            for split, files in sources.find(args.data).items()
        }
        tokenizer = text.train_wordpiece(found["train"].data[GLUE.text[0]], VOCAB)  # of all rows, as a user's is
        features = Features(tokenizer, LENGTH, GLUE.text, GLUE.labels)
        self.train, self.dev = (
            prepare(rows.select(range(min(most, len(rows)))), features, key=features.key())
            for rows, most in ((found["train"], args.rows), (found["validation"], args.dev))
        )
        self.fields = tuple(fields(self.train.fields, tokenizer.pad_id, GLUE.labels))
        self.vocab = len(tokenizer)

    def build(self, seed, **config):
        """A new model."""
        shape = {"vocab": self.vocab, "labels": GLUE.labels, "problem": "single_label_classification"}
        return catalog.build(
            "bert", catalog.config("bert", **{**MODEL, **config, **shape}), head="sequence-classification", seed=seed
        )

    def feed(self, arm, seed, data=None):
        """The batches of an arm; ``seed`` None: in order."""
        data, (cut, joined) = data or self.train, ARMS[arm]
        given = {"tokens": None, "size": self.args.size, "max_length": LENGTH, "accumulate": 1}
        plan = BatchPlan(data.lengths, options.BatchOptions(layout=cut, **given), seed)
        return Loader(data, plan, Collate(self.fields, options.BatchOptions(layout=joined, **given)))

    def settings(self):
        """The options of the loop."""
        return SimpleNamespace(
            train=options.TrainOptions(
                epochs=self.args.epochs, steps=None, clip=1.0, log_every=10, max_skips=5, show=0
            ),
            eval=options.EvalOptions(every=10**9, metric=None, patience=None),
            checkpoint=options.CheckpointOptions(every=None, keep=1, background=False),
            optim=options.OptimOptions(name="adamw", lr=5e-4, decay=0.01, betas=(0.9, 0.999), eps=1e-8, momentum=None),
            schedule=options.ScheduleOptions(name="linear", warmup=0.06),
            precision=options.PrecisionOptions(dtype="fp32", reduce=None),
            memory=options.MemoryOptions(activations="none", loss_chunk=None),
            strategy=options.StrategyOptions(
                name="single",
                tp=None,
                cp=None,
                pp=None,
                schedule=None,
                chunks=None,
                replicas=None,
                reshard=True,
                offload=False,
                compile=False,
            ),
        )

    def trainer(self, model, folder, train, dev=None, clock=None):
        """Our loop."""
        task = TextClassification(GLUE.labels, GLUE.metrics)
        evals = {} if dev is None else {"dev": dev}
        return Trainer(
            model, task, self.settings(), folder, train=train, evals=evals, device="cpu", console=Console(quiet=True),
            trackers=[clock] if clock else [],
        )  # fmt: skip

    def run(self, arm, seed):
        """One training run of an arm: what it took per account, its padding, its dev accuracy."""
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            train, dev = self.feed(arm, seed), self.feed("bucketed", None, self.dev)
            with train, dev:
                result = self.trainer(self.build(seed), folder, train, dev, clock).fit()
            log = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
        examples = self.args.epochs * len(self.train)
        return {
            "seconds": clock.seconds,
            "cpu_seconds": clock.cpu,
            "examples_per_second": examples / clock.seconds,
            "examples_per_cpu_second": examples / clock.cpu,
            "data_wait": result.seconds["data"] / clock.seconds,
            "padding": statistics.mean(e["padding"] for e in log if e["event"] == "step"),
            "accuracy": result.metrics["accuracy"],
        }

    def bare(self, seed):
        """Processor seconds of the plain steps over the batches of ``unpadded``, all of them made beforehand."""
        model, settings = self.build(seed).train(), self.settings()
        plain = optim.build(model, settings.optim)
        with self.feed("unpadded", seed) as feed:
            made = [micro for epoch in range(self.args.epochs) for (micro,) in feed.epoch(epoch)]
        began = time.process_time()
        for batch in made:
            model(**to_device(batch, torch.device("cpu"))).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            plain.step()
            plain.zero_grad()
        return time.process_time() - began

    def losses(self, arm, steps):
        """The loss of each of the first steps, without dropout: layouts must agree on the same batches."""
        model = self.build(0, dropout=0.0, attn_dropout=0.0).train()
        with tempfile.TemporaryDirectory() as folder, self.feed(arm, 0) as feed:
            trainer = self.trainer(model, folder, feed)
            trainer.strategy.optimizer(trainer.options.optim)
            stepped = zip(range(steps), feed.epoch(0))
            return [float(trainer.stepper(micros, 1e-3).loss) for _, micros in stepped]


def measure(bench, seeds):
    """After each seed: arm -> figures, one a seed; and the processor seconds of the bare steps."""
    runs, bare = {arm: [] for arm in ARMS}, []
    bench.run("unpadded", 99)  # warms caches and the allocator, not counted
    for seed in range(seeds):
        order = ["padded", "longest", "bare", "unpadded", "bucketed"]  # what is compared closely stands side by side
        for arm in order[seed % len(order) :] + order[: seed % len(order)]:
            if arm == "bare":
                bare.append(bench.bare(seed))
            else:
                runs[arm].append(bench.run(arm, seed))
                found = runs[arm][-1]
                print(
                    f"seed {seed} {arm:9} {found['examples_per_second']:7.1f} ex/s  dev {found['accuracy']:.4f}",
                    flush=True,
                )
        yield runs, bare


def summary(args, bench, runs, bare, difference):
    """Medians over seeds."""
    arms = {arm: {key: statistics.median(r[key] for r in found) for key in found[0]} for arm, found in runs.items()}
    for arm, found in runs.items():
        accuracies = [r["accuracy"] for r in found]
        arms[arm]["accuracy_mean"] = statistics.mean(accuracies)
        arms[arm]["accuracy_sd"] = statistics.stdev(accuracies) if len(accuracies) > 1 else None

    def ratio(arm, other, key):
        return statistics.median(b[key] / a[key] for a, b in zip(runs[arm], runs[other]))

    pairs = [(arm, other) for arm in ("unpadded", "bucketed") for other in ("longest", "padded")]
    return {
        "date": datetime.date.today().isoformat(),
        "hardware": f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load "
        f"{os.getloadavg()[0]:.0f}; PyTorch {torch.__version__}",
        "setting": f"BERT {MODEL['depth']} x {MODEL['width']}, vocabulary {bench.vocab:,}, {len(bench.train):,} rows of "
        f"SST-2 (mean {bench.train.lengths.mean():.1f} tokens), {args.epochs} epochs, {args.size} rows a step, fp32, "
        f"{len(bare)} seeds, {len(bench.dev):,} dev rows",
        "steps": args.epochs * -(-len(bench.train) // args.size),
        "arms": arms,
        "times_faster": {f"{a} than {b}": {k: ratio(a, b, k) for k in ("cpu_seconds", "seconds")} for a, b in pairs},
        "overhead": statistics.median(run["cpu_seconds"] / plain - 1 for run, plain in zip(runs["unpadded"], bare)),
        "largest_loss_difference": difference,
    }


def table(found):
    """The summary as Markdown."""
    lines = [
        "# Fine-tuning: what padding costs", "", f"{found['date']}, {found['hardware']}", "", f"{found['setting']}", "",
        "| arm | examples/s | examples/CPU s | padding | data-wait | dev accuracy, mean ± sd |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for arm, f in found["arms"].items():
        spread = "" if f["accuracy_sd"] is None else f" ± {f['accuracy_sd']:.4f}"
        lines.append(
            f"| {arm} | {f['examples_per_second']:.1f} | {f['examples_per_cpu_second']:.1f} | {f['padding']:.1%} "
            f"| {f['data_wait']:.2%} | {f['accuracy_mean']:.4f}{spread} |"
        )
    lines += [""]
    for name, times in found["times_faster"].items():
        lines.append(f"- {name}: {times['cpu_seconds']:.2f} x by processor time, {times['seconds']:.2f} x by the wall")
    lines += [
        f"- the loop over bare forward, backward and step (unpadded), processor time: {found['overhead']:+.1%}",
        "- largest difference of the loss of a step between padded, longest and unpadded on the same batches: "
        f"{found['largest_loss_difference']:.1e}",
        *(
            ["- dev accuracy is at chance: so few steps teach nothing, and it compares nothing"]
            * (found["steps"] < 100)
        ),
        "",
        "Medians over seeds; ratios are medians of the ratios within a seed. Written by `tests/bench/finetune.py`.",
    ]
    return "\n".join(lines) + "\n"


def processor():
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--dev", type=int, default=872, help="rows to measure accuracy on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", type=Path, help="folder for finetune.json and finetune.md")
    args = parser.parse_args()
    bench = Bench(args)
    losses = {arm: bench.losses(arm, 8) for arm in ("padded", "longest", "unpadded")}
    difference = max(max(step) - min(step) for step in zip(*losses.values()))
    print(f"largest difference of a step's loss: {difference:.1e}", flush=True)
    for runs, bare in measure(bench, args.seeds):
        found = summary(args, bench, runs, bare, difference)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "finetune.json").write_text(json.dumps(found, indent=1) + "\n")
            (args.out / "finetune.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
