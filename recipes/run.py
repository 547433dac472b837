"""A run of any recipe: prepare, train, keep the best model in the published layout, say how it is used."""

import hashlib
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import catalog
from catalog.saving import describe
from recipes import adapters, fitting, pretrained
from recipes.prepared import describe_data
from trainer.console import Console
from trainer.lines import parameters
from trainer.loop import Trainer
from trainer.strategies import processes

DIVIDED = ("fsdp", "hsdp", "tp", "fsdp_tp", "cp")  # strategies under which no process ever holds the whole model
ROOT = Path(__file__).resolve().parents[1]


def run(config: Any, console: Console | None = None) -> float | None:
    """Train what ``config`` says, save the best model to ``run_dir/model`` and return its deciding metric, if measured.

    ``config`` is a checked configuration (``launchers.config.schema.Config``) whose ``run_dir`` is a folder. Raises the
    errors of catalog and trainer, each with an ``exit_code`` and a message that is complete.
    """
    folder, console = Path(config.run_dir), console or Console(quiet=processes.rank() > 0)
    fitting.check(config)
    recipe = import_module(f"recipes.{config.recipe}")
    console.say("run", identity(config, recipe.SCALES))
    with pretrained.blank(config.strategy.name in DIVIDED):
        made = recipe.prepare(config, lambda line: console.say("data", line))
    if config.memory.loss_chunk is not None:
        catalog.chunk_loss(made.model, config.memory.loss_chunk)
    adapted = adapters.add(made.model, config.adapter, config.strategy.name, config.seed)
    console.say("model", f"{made.model.name} with {made.model.head}, {parameters(made.model)}   {made.weights}")
    if adapted:
        console.say("adapt", adapted)
    console.say("data", describe_data(made))
    console.say("task", f"{config.task}: {made.about}")
    trainer = Trainer(
        made.model, made.task, config, folder, train=made.train, evals=made.evals, seed=config.seed,
        checks=made.checks, console=console, resume_command=f"python train.py resume={folder}",
        fill=vars(made.model).get("filling"),
    )  # fmt: skip
    target = folder / "model"
    if processes.rank() == 0 and not (target / "config.json").exists():  # one that is there may be of another run
        describe(made.model, target, made.processor)  # what recipes.export needs while this one goes on
    result = trainer.fit(resume=config.resume is not None)
    if adapted:
        step = adapters.finish(trainer, made, folder, config.model.source)
        console.say("saved", f"{folder / 'adapter'}   the adapters alone, in peft's format")
    else:
        step, weights = trainer.best_weights()
        if processes.rank() == 0:
            catalog.save(made.model, target, processor=made.processor, weights=weights)
    which = "the last model" if step is None else f"the best model (step {step:,})"
    console.say("saved", f"{target}   {which} with its tokenizer, in the published layout")
    console.say("use", made.use.format(folder=target))
    return result.best


def identity(config: Any, scales: dict[str, str]) -> str:
    """Folder, configuration and code of the run, and what the other scale would be."""
    parts = [config.run_dir]
    written = Path(config.run_dir) / "config.yaml"
    if written.is_file():
        parts.append(f"config {hashlib.sha256(written.read_bytes()).hexdigest()[:6]}")
    if code := revision():
        parts.append(f"code {code}")
    other = "full" if config.scale == "demo" else "demo"
    return f"{'   '.join(parts)}\nscale={config.scale}: {scales[config.scale]}   scale={other}: {scales[other]}"


def revision() -> str | None:
    """The commit of this checkout and whether files differ from it; ``None`` where it is not one."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return f"{git('rev-parse', '--short', 'HEAD')} ({'changed' if git('status', '--porcelain') else 'clean'})"
    except (OSError, subprocess.SubprocessError):
        return None
