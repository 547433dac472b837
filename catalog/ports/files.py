"""Files appear whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from catalog.errors import SaveError


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file aside, flush it, and put it in the place of ``path``. Raises SaveError naming it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(aside)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise SaveError(
            f"{path}: cannot be written ({error.strerror or error}); what stood there is untouched"
        ) from None
