"""The command line of ``train.py``: commands, launch and exit codes. Heavy packages are imported only to run."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

STOPPED = 5  # by a signal, with everything saved
INTERRUPTED = 130  # stopped by ^C where there was nothing to save


def main(argv: Sequence[str]) -> int:
    """Do what ``argv`` (without the program's name) asks for and return the exit code."""
    started = time.perf_counter()
    try:
        start = prepare(argv)
    except Exception as error:
        return report(error, f"\n   nothing was loaded; {time.perf_counter() - started:.1f} s")
    try:
        start()
        return 0
    except KeyboardInterrupt:
        print("stopped; nothing was saved", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return report(error)


def prepare(argv: Sequence[str]) -> Callable[[], None]:
    """What is left to do once ``argv`` is known to be good. Raises ``OptionError``."""
    from launchers.config import flags, render
    from launchers.config.load import load_line
    from launchers.config.tree import read_tree
    from trainer.strategies import mesh, processes

    line = flags.split(argv)
    if line.help or not line.settings:
        return partial(show, render.usage(read_tree(line.folders)))
    if line.multirun:
        from launchers import sweep

        processes.check("single")  # the runs of a sweep follow one another in this process
        return partial(sweep.run, sweep.plan(line))
    loaded = load_line(line)
    verb, what = loaded.command
    if verb == "explain":
        return partial(show, render.explain(loaded, what))
    if verb == "print":
        text = render.document(loaded) if what == "config" else render.deepspeed(loaded.config)
        return partial(show, text, end="")
    if verb == "plan":
        from trainer.plan import cluster

        cluster.check(loaded.config.strategy, loaded.config.cluster)
        return partial(plan, loaded.config, what == "json")
    from launchers import local

    mesh.check(loaded.config.strategy)
    return partial(local.launch, loaded)


def plan(config: Any, as_json: bool) -> None:
    """Print what a run would take."""
    from recipes import plan  # heavy: only for a configuration that is known to be good

    plan.plan(config, as_json)


def show(text: str, end: str = "\n") -> None:
    """Print ``text``; whoever stops reading early, as ``| head`` does, has seen enough."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it ends


def report(error: Exception, ending: str = "") -> int:
    """Print what stopped the program and return its exit code; only a fault of the program itself has a traceback."""
    code = getattr(error, "exit_code", None)
    if code is None:
        traceback.print_exception(error)
        return 1
    if int(os.environ.get("RANK", 0)) and (ending or code == STOPPED):
        return code  # every process of torchrun meets the same, the first one says it
    print(f"{'stopped' if code == STOPPED else 'error'}: {error}{ending}", file=sys.stderr)
    return code
