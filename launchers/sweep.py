"""Many runs of one command line: ``--multirun``, by Hydra's sweepers and launchers (grid, Optuna; local, Slurm).

Hydra enumerates the values and starts the jobs; each job composes and checks its own configuration like a single run.
"""

import dataclasses
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from launchers import local
from launchers.config import schema
from launchers.config.errors import OptionError
from launchers.config.flags import CommandLine
from launchers.config.load import load_line
from launchers.config.tree import CONF

_FORMS = "a sweep is optim.lr=1e-5,2e-5 or range(1,5); interval(1e-5,1e-3) goes with hydra/sweeper=optuna"
STOPPED = 5  # the exit code of a run that was asked to stop and can be continued
Settings = tuple[tuple[int, str], ...]


class SweepFailed(Exception):
    """A job of a sweep has failed and said why; the other jobs have run."""

    def __init__(self, first: Exception):
        self.exit_code = getattr(first, "exit_code", 1)
        super().__init__("not every job of the sweep succeeded; see above")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep: what all jobs share, what varies (in Hydra's grammar), and what is meant for Hydra itself."""

    line: CommandLine
    varied: dict[int, Override]
    for_hydra: tuple[str, ...]


def plan(line: CommandLine) -> Sweep:
    """Check every single value of a sweep before any job starts. Raises ``OptionError``.

    Values that cannot stand together stop their own job only.
    """
    for_hydra = tuple(text for _, text in line.settings if text.lstrip("+~").startswith(("hydra.", "hydra/")))
    with _hydra() as hydra:
        parser = OverridesParser.create(hydra.config_loader())
        rest = [(position, text) for position, text in line.settings if text not in for_hydra]
        varied = {position: override for position, text in rest if (override := _varied(parser, text)) is not None}
        fixed = tuple((position, text) for position, text in rest if position not in varied)
        singles = list(_one_at_a_time(fixed, varied))
    for settings in singles:
        verb, _ = load_line(dataclasses.replace(line, settings=settings)).command
        if verb != "run":
            raise OptionError(f"{verb}= shows one run", "command line", ("leave --multirun away",))
    return Sweep(dataclasses.replace(line, settings=fixed), varied, for_hydra)


def run(sweep: Sweep) -> None:
    """Run all jobs. Raises ``SweepFailed`` at the end if one of them failed, ``OptionError`` if Hydra cannot begin."""
    places = {override.key_or_group: position for position, override in sweep.varied.items()}
    job = functools.partial(_job, line=sweep.line, places=places)
    overrides = [*map(_force, sweep.varied.values()), *sweep.for_hydra]
    # A job of Slurm starts in Python's own way, not by train.py, and must find the project all the same.
    paths = [str(CONF.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    with _hydra() as hydra:
        hydra.hydra.multirun("config", job, overrides, with_log_configuration=False)


def _job(config: DictConfig, line: CommandLine, places: dict[str, int]) -> float | None:
    """One run of a sweep; of ``config``, Hydra's own view of it, only the values of this job are used."""
    hydra = HydraConfig.get()
    given = [text.lstrip("+") for text in hydra.overrides.task]
    print(f"sweep  job {hydra.job.num}   {' '.join(given)}", flush=True)
    settings = tuple((places.get(text.partition("=")[0], 0), text) for text in given)
    try:
        with _set_aside():
            return local.launch(load_line(dataclasses.replace(line, settings=(*line.settings, *settings))))
    except Exception as error:
        if getattr(error, "exit_code", None) is None:
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)
        if error.exit_code == STOPPED:
            raise SystemExit(STOPPED) from error  # the user wants to stop the sweep, not one job of it
        raise SweepFailed(error) from error


@contextmanager
def _hydra() -> Iterator[GlobalHydra]:
    """Hydra over ``conf/``; its own errors become one of ours."""
    try:
        with initialize_config_dir(config_dir=str(CONF), job_name="train", version_base="1.3"):
            yield GlobalHydra.instance()
    except (HydraException, OmegaConfBaseException):
        raise OptionError("Hydra cannot run this sweep", "command line", (_FORMS,)) from None


@contextmanager
def _set_aside() -> Iterator[None]:
    """Room for a job's own composition: a process has one Hydra at a time."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)


def _varied(parser: OverridesParser, text: str) -> Override | None:
    """The sweep that a setting asks for, or None for one value."""
    try:
        (override,) = parser.parse_overrides([text])
    except HydraException:
        return None  # one value for all jobs, or a mistake that the check of a single run explains
    return override if override.is_sweep_override() else None


def _one_at_a_time(fixed: Settings, varied: dict[int, Override]) -> Iterator[Settings]:
    """Settings of single runs in which every value of every sweep occurs, the other sweeps at their first value."""
    values = {position: [f"{o.key_or_group}={value}" for value in _values(o)] for position, o in varied.items()}
    first = {**dict(fixed), **{position: texts[0] for position, texts in values.items()}}
    yield tuple(sorted(first.items()))
    for position, texts in values.items():
        for text in texts[1:]:
            yield tuple(sorted({**first, position: text}.items()))


def _values(override: Override) -> list[str]:
    """The values as text; of an interval its ends, of ``glob(*)`` the options without shared parts (``_base``)."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    shared = override.value_type is ValueType.GLOB_CHOICE_SWEEP
    return [text for text in override.sweep_string_iterator() if not (shared and text.startswith("_"))]


def _force(override: Override) -> str:
    """The setting as Hydra takes it even where its own composition lacks the key (``model.config.depth``)."""
    if override.key_or_group in schema.GROUPS:
        return f"{override.key_or_group}={','.join(_values(override))}"
    return f"++{(override.input_line or '').lstrip('+')}"
