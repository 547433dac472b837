"""The command line of ``train.py``: commands, launch and exit codes. Heavy packages are imported only to run."""

import sys
import time
import traceback
from collections.abc import Sequence

INTERRUPTED = 130  # stopped by ^C where there was nothing to save; the trainer's own stop exits 5


def main(argv: Sequence[str]) -> int:
    """Do what ``argv`` (without the program's name) asks for and return the exit code."""
    started = time.perf_counter()
    try:
        loaded = configure(argv)
    except Exception as error:
        return report(error, f"\n   nothing was loaded; {time.perf_counter() - started:.1f} s")
    try:
        return 0 if loaded is None else launch(loaded)
    except KeyboardInterrupt:
        print("stopped; nothing was saved", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return report(error)


def configure(argv: Sequence[str]):
    """The checked configuration, or None where ``argv`` asked to be shown something. Raises ``OptionError``."""
    from launchers.config import flags, render
    from launchers.config.load import load
    from launchers.config.tree import read_tree

    line = flags.split(argv)
    if line.help or not line.settings:
        print(render.usage(read_tree(line.folders)))
        return None
    loaded = load(argv)
    verb, what = loaded.command
    if verb == "explain":
        print(render.explain(loaded, what))
    elif verb == "print":
        print(render.document(loaded), end="")
    return loaded if verb == "run" else None


def launch(loaded) -> int:
    """Hand the configuration to the launcher it names."""
    from launchers import local

    local.launch(loaded)
    return 0


def report(error: Exception, ending: str = "") -> int:
    """Print what stopped the program and return its exit code; only a fault of the program itself has a traceback."""
    code = getattr(error, "exit_code", None)
    if code is None:
        traceback.print_exception(error)
        return 1
    print(f"error: {error}{ending}", file=sys.stderr)
    return code
