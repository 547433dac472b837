"""Low-rank adapters in a run: added before training, written beside the merged model after it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import catalog
from catalog import adapters
from recipes.options import AdapterOptions
from trainer.errors import OptionError

ALONE = ("single", "ddp")  # strategies under which a process holds the whole model


def add(model, options: AdapterOptions, strategy: str, seed: int) -> str | None:
    """Adapt ``model`` as ``options`` say and tell so in a few words; ``None`` where they ask for nothing.

    What is new in the backbone learns as a whole, as the head does. Raises the catalog's errors, and OptionError under a
    strategy that divides the model.
    """
    if options.name == "none":
        return None
    if strategy not in ALONE:
        raise OptionError(
            f"adapter={options.name} under strategy={strategy}: adapters are merged and written by one process, which then "
            f"holds a part of the model\n   take strategy={' or strategy='.join(ALONE)}; adapter.base=nf4 needs least memory"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = adapters.add(
            model, options.targets, rank=options.rank, alpha=options.alpha, dropout=options.dropout, base=options.base,
            also=[*options.also, *_fresh(model)],
        )  # fmt: skip
    base = "" if options.base == "as_is" else f", their base in {options.base}"
    return f"adapters of rank {options.rank} on {len(found)} layers ({', '.join(options.targets)}){base}"


def finish(trainer: Any, made: Any, folder: Path, source: str | None) -> int | None:
    """The best adapters to ``folder/adapter``, merged into their model to ``folder/model``; the step they are of."""
    step = trainer.load_best()
    if trainer.strategy.rank == 0:
        adapters.save(made.model, folder / "adapter", base=source)
        catalog.save(adapters.merge(made.model), folder / "model", processor=made.processor)
    return step


def _fresh(model) -> Sequence[str]:
    """Weights of the backbone that its checkpoint did not have."""
    plan = vars(model).get("loaded")
    return [f"backbone.{name}" for name in plan.fresh] if plan else []
