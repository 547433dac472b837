"""The local launcher: the recipe runs in this process."""

import dataclasses
import hashlib
import os
import time
from pathlib import Path

from launchers.config.errors import OptionError
from launchers.config.load import Loaded
from launchers.config.render import document
from launchers.config.saved import NAME
from launchers.config.schema import Config
from trainer.strategies import processes

BEGUN = "log.jsonl"  # the trainer's; a run that was refused before it has none, and may be started again in its folder


def launch(loaded: Loaded) -> float | None:
    """Give the run its folder, write its configuration there and run the recipe.

    A run that is continued keeps its folder and the configuration written there. Returns the figure that the recipe
    was to improve, if it measured one. Raises whatever the recipe raises; what a user can cause carries ``exit_code``.
    """
    config = loaded.config
    if config.resume is None:
        text = document(loaded)
        folder = together(config, text)
        config = dataclasses.replace(config, run_dir=str(folder))
    from recipes.run import run  # heavy: only for a configuration that is known to be good

    return run(config)


def together(config: Config, text: str) -> Path:
    """The folder of a new run, made by the first of the processes that torchrun started."""
    if processes.world() > 1:
        processes.join()
    folder = None
    if processes.rank() == 0:
        folder = run_folder(config, text)
        begin(folder, text)
    return processes.gather(folder)[0]


def run_folder(config: Config, text: str) -> Path:
    """The folder of a new run; ``{id}`` is six digits of a hash over the configuration's text and the moment."""
    moment = f"{text}{time.time_ns()}{os.getpid()}"
    words = {"recipe": config.recipe, "task": config.task, "id": hashlib.sha256(moment.encode()).hexdigest()[:6]}
    path = config.run_dir
    for word, value in words.items():
        path = path.replace(f"{{{word}}}", value)
    return Path(path)


def begin(folder: Path, text: str) -> None:
    """Make the folder of a new run and write its configuration there. Raises ``OptionError``."""
    if (folder / NAME).exists() and (folder / BEGUN).exists():
        raise OptionError(f"run_dir={folder} holds a run", "", (f"to continue it: resume={folder}", "or name another"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"run_dir={folder}: {error.strerror}", "", ("choose a folder that can be written",)) from None
