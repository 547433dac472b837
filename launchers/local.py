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


def launch(loaded: Loaded) -> float | None:
    """Give the run its folder, write its configuration there and run the recipe.

    A run that is continued keeps its folder and the configuration written there. Returns the figure that the recipe
    was to improve, if it measured one. Raises whatever the recipe raises; what a user can cause carries ``exit_code``.
    """
    config, text = loaded.config, document(loaded)
    if config.resume is None:
        folder = run_folder(config.run_dir, config.recipe, config.task, text)
        _write(folder, text)
        config = dataclasses.replace(config, run_dir=str(folder))
    from recipes.run import run  # heavy: only for a configuration that is known to be good

    return run(config)


def run_folder(pattern: str, recipe: str, task: str, text: str) -> Path:
    """The folder of a new run; ``{id}`` is six digits of a hash over the configuration and the moment."""
    moment = f"{text}{time.time_ns()}{os.getpid()}"
    name = hashlib.sha256(moment.encode()).hexdigest()[:6]
    return Path(pattern.replace("{recipe}", recipe).replace("{task}", task).replace("{id}", name))


def _write(folder: Path, text: str) -> None:
    if (folder / NAME).exists():
        raise OptionError(
            f"run_dir={folder} holds a run already", "", (f"continue it: resume={folder}", "or name another")
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"run_dir={folder}: {error.strerror}", "", ("choose a folder that can be written",)) from None
