"""The plan of a run of any recipe: its model without memory, its task, and its data as often as a batch wants it."""

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

import catalog
from recipes import adapters, pretrained
from recipes.options import ModelOptions
from trainer.console import Console
from trainer.data.batches import BatchPlan
from trainer.data.blocks import Blocks
from trainer.data.dataset import Ragged
from trainer.data.loader import Loader
from trainer.options import BatchOptions
from trainer.plan import report
from trainer.plan.plan import make


def plan(config: Any, as_json: bool = False, console: Console | None = None) -> None:
    """Print what the run that ``config`` says would take of each GPU of ``config.cluster``; nothing is trained or written.

    Raises as :func:`trainer.plan.plan.make` and the recipe do.
    """
    console = console or Console(sys.stderr if as_json else None, terminal=False)
    recipe = import_module(f"recipes.{config.recipe}")
    with pretrained.blank(True):
        made = recipe.prepare(config, lambda line: console.say("data", line))
    model = sized(made.model, config.model)
    if config.memory.loss_chunk is not None:
        catalog.chunk_loss(model, config.memory.loss_chunk)
    if adapted := adapters.add(model, config.adapter, config.strategy.name, config.seed):
        console.say("adapt", adapted)
    found = make(model, f"{model.name} with {model.head}", made.task, endless(made.train, config.batch), config)
    if as_json:
        print(json.dumps(report.document(found), indent=1))
        return
    for word, text in report.lines(found):
        console.say(word, text)


def sized(model: Any, options: ModelOptions) -> Any:
    """``model`` with the vocabulary that new weights are told to have; a run takes that of its tokenizer, where it learns one
    from the text. Nothing is read for it."""
    vars(model).pop("filling", None)
    vocab = options.config.get("vocab")
    if options.source is not None or vocab is None or vocab <= model.config.vocab:
        return model
    return catalog.build(model.name, replace(model.config, vocab=vocab), head=model.head, device="meta")


def endless(feed: Loader, options: BatchOptions) -> Loader:
    """A feed with the rows of ``feed`` again and again, until the largest batch of ``options`` is full."""
    rows = Again(feed.dataset, options.max_length)
    wanted = options.size or -(-options.tokens // max(1, int(rows.each.min())))
    plan = BatchPlan(np.resize(rows.each, max(wanted, len(rows.each))), options, None)
    change = feed._maker.change
    return Loader(
        rows, plan, feed.collate, workers=0,
        change=change and (lambda columns, numbers, epoch: change(columns, numbers % len(rows.each), epoch)),
    )  # fmt: skip


class Again:
    """The rows of ``data`` over and over. Blocks of documents are full ones of one document: the most attention there is."""

    def __init__(self, data: Any, capacity: int):
        self.data, self.whole = data, isinstance(data, Blocks)
        self.each = np.full(len(data), capacity, np.int32) if self.whole else np.asarray(data.lengths)
        self.capacity, self.digest = capacity, data.digest

    def columns(self, rows: Iterable[int]) -> dict[str, Any]:
        """The features of these rows."""
        rows = np.asarray(rows, dtype=np.int64) % len(self.each)
        if not self.whole:
            return self.data.columns(rows)
        found = {name: [np.resize(self.data[row][name], self.capacity) for row in rows] for name in self.data.fields}
        sizes = np.full(len(rows), self.capacity, np.int64)
        return {name: Ragged(np.concatenate([*parts, np.zeros(0, np.int64)]), sizes) for name, parts in found.items()}

    def where(self, i: int) -> str:
        """Where row ``i`` is from."""
        return self.data.where(i % len(self.each))
