"""A small task, model and feed in plain PyTorch, for tests of the loop. Nothing here knows the catalog."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from trainer import options
from trainer.console import Console
from trainer.loop import Trainer

VOCAB, CLASSES, IGNORE = 32, 3, -100


class Term(NamedTuple):
    total: torch.Tensor
    count: torch.Tensor | float
    weight: float = 1.0


@dataclass(frozen=True)
class Config:
    train: options.TrainOptions
    eval: options.EvalOptions
    checkpoint: options.CheckpointOptions
    optim: options.OptimOptions
    schedule: options.ScheduleOptions
    precision: options.PrecisionOptions
    memory: options.MemoryOptions
    strategy: options.StrategyOptions


def config(
    *, epochs=2, steps=None, clip=1.0, log_every=1, max_skips=3, lr=0.02, decay=0.01, schedule="linear", warmup=0.1,
    dtype="fp32", eval_every="epoch", metric=None, patience=None, save_every=None, keep=2, background=False,
    strategy="single", optim="adamw", reduce=None, activations="none", show=0,
):  # fmt: skip
    return Config(
        options.TrainOptions(
            epochs=epochs, steps=steps, clip=clip, log_every=log_every, max_skips=max_skips, show=show
        ),
        options.EvalOptions(every=eval_every, metric=metric, patience=patience),
        options.CheckpointOptions(every=save_every, keep=keep, background=background),
        optimizer(optim, lr, decay),
        options.ScheduleOptions(name=schedule, warmup=warmup),
        options.PrecisionOptions(dtype=dtype, reduce=reduce),
        options.MemoryOptions(activations=activations, loss_chunk=None),
        spread(strategy) if isinstance(strategy, str) else strategy,
    )


def optimizer(name="adamw", lr=0.02, decay=0.01):
    """Options of an optimizer, with what its file in conf/optim says beside rate and decay."""
    adam = {"betas": (0.9, 0.999), "eps": 1e-8} if "adam" in name else {"betas": None, "eps": None}
    return options.OptimOptions(name=name, lr=lr, decay=decay, momentum=0.9 if name == "sgd" else None, **adam)


def spread(name, **more):
    """Options of a strategy, all sizes inferred unless given."""
    plain = dict.fromkeys(("tp", "cp", "pp", "schedule", "chunks", "replicas"))
    plain |= {"reshard": True, "offload": False, "compile": False}
    return options.StrategyOptions(name=name, **plain | more)


class Rows:
    """Sequences of tokens whose class is the sum of the tokens modulo CLASSES; ids and lengths from a seed."""

    def __init__(self, n=40, seed=0):
        gen = np.random.default_rng(seed)
        self.ids = [gen.integers(1, VOCAB, size=gen.integers(2, 9)).tolist() for _ in range(n)]
        self.labels = [sum(ids) % CLASSES for ids in self.ids]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "labels": self.labels[i]}

    def rows(self, ids):
        return [self[i] for i in ids]

    def where(self, i):
        return f"rows.tsv:{i + 2}"


class Batches:
    """A feed over Rows: shuffled by (seed, epoch), ``size`` rows a micro batch, ``accumulate`` of them a step."""

    def __init__(self, dataset, size=4, accumulate=1, seed=None, before=lambda step: None):
        self.dataset, self.size, self.accumulate, self.seed, self.before = dataset, size, accumulate, seed, before
        self.share(0, 1)

    def share(self, index, of):
        self.index, self.of = index, of

    @property
    def identity(self):
        return f"{self.seed}/{self.size}/{self.accumulate}/{sum(map(len, self.dataset.ids))}"

    def steps(self, epoch):
        return math.ceil(len(self.dataset) / (self.size * self.accumulate))

    def epoch(self, epoch, start=0):
        order = np.arange(len(self.dataset))
        if self.seed is not None:
            np.random.default_rng((self.seed, epoch)).shuffle(order)
        whole = self.size * self.accumulate
        for at in range(start * whole, len(order), whole):
            self.before(epoch * self.steps(0) + at // whole)
            rows = order[at : at + whole]
            micros = [rows[i : i + self.size] for i in range(0, len(rows), self.size)]
            yield [self.batch(micro[self.index :: self.of]) for micro in micros]

    def worst(self):
        return self.batch(sorted(range(len(self.dataset)), key=lambda i: -len(self.dataset.ids[i]))[: self.size])

    def one(self):
        return self.batch([0])

    def batch(self, rows):
        longest = max((len(self.dataset.ids[i]) for i in rows), default=0)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, i in enumerate(rows):
            ids[place, : len(self.dataset.ids[i])] = torch.tensor(self.dataset.ids[i])
        return {
            "input_ids": ids,
            "attention_mask": (ids > 0).long(),
            "labels": torch.tensor([self.dataset.labels[i] for i in rows], dtype=torch.long),
            "rows": torch.tensor(list(rows), dtype=torch.long),
        }


class Model(nn.Module):
    """Two heads over a mean of embeddings: the class of the sequence, and the token itself at each position."""

    def __init__(self, width=16, dropout=0.1):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)
        self.classify, self.tokens = nn.Linear(width, CLASSES), nn.Linear(width, VOCAB, bias=False)
        self.tokens.weight = self.embed.weight
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, ids, mask):
        if self.training:
            self.calls += 1
        x = self.drop(torch.tanh(self.mix(self.norm(self.embed(ids)))))
        pooled = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.classify(pooled), self.tokens(x)


class Accuracy:
    def __init__(self):
        self.reset()

    def reset(self):
        self.right = self.seen = 0

    def update(self, output, batch):
        self.right += int((output[0].argmax(-1) == batch["labels"]).sum())
        self.seen += len(batch["labels"])

    def compute(self):
        return {"accuracy": self.right / self.seen}

    def state(self):
        return self.right, self.seen

    def merge(self, states):
        self.right, self.seen = map(sum, zip(*states))


class Task:
    """Cross entropy of the class, and with ``weight`` of every token, whose number differs from row to row."""

    targets = ("labels",)
    best = ("accuracy", "max")

    def __init__(self, weight=0.0, spoil=lambda batch: False):
        self.weight, self.spoil = weight, spoil

    def counts(self, model, batch):
        counts = {"class": (batch["labels"] != IGNORE).sum()}
        return counts | ({"token": batch["attention_mask"].sum()} if self.weight else {})

    def terms(self, model, batch):
        output = model(batch["input_ids"], batch["attention_mask"])
        labels = batch["labels"]
        total = F.cross_entropy(output[0], labels, reduction="sum", ignore_index=IGNORE)
        if model.training and self.spoil(batch):
            total = total * float("nan")
        terms = {"class": Term(total, (labels != IGNORE).sum())}
        if self.weight:
            tokens = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORE)
            total = F.cross_entropy(output[1].flatten(0, 1), tokens.flatten(), reduction="sum", ignore_index=IGNORE)
            terms["token"] = Term(total, batch["attention_mask"].sum(), self.weight)
        return output, terms

    def new_metrics(self):
        return Accuracy()

    def predict(self, model, batch):
        return model(batch["input_ids"], batch["attention_mask"])[0].argmax(-1).tolist()


def model(seed=0, dtype=torch.float32, **kw):
    torch.manual_seed(seed)
    return Model(**kw).to(dtype)


def trainer(folder, *, rows=None, feed=None, evals=None, task=None, net=None, options=None, **kw):
    """A Trainer over all of the above; what is not given is small and has a fixed seed."""
    rows = rows or Rows()
    kw = {"seed": 1, "device": "cpu", "console": Console(quiet=True), "resume_command": "train.py resume=x"} | kw
    return Trainer(
        net or model(), task or Task(weight=0.5), options or config(), folder,
        train=feed or Batches(rows, size=3, accumulate=2, seed=5),
        evals={"dev": Batches(Rows(20, seed=9))} if evals is None else evals, **kw,
    )  # fmt: skip
