"""The whole configuration as plain dataclasses, and the flat view of it that messages and checks work on."""

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from launchers.options import LauncherOptions
from recipes.options import AdapterOptions, DataOptions, ModelOptions, Scale
from recipes.task_options import OPTIONS
from trainer.options import (
    BatchOptions,
    CheckpointOptions,
    ClusterOptions,
    EvalOptions,
    MemoryOptions,
    OptimOptions,
    PrecisionOptions,
    ScheduleOptions,
    StrategyOptions,
    TrackerOptions,
    TrainOptions,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run, complete and checked. Every value came from ``conf/``, the recipe, its scale or the command line."""

    recipe: str = field(metadata={"help": "the line of business: a file in conf/recipe"})
    task: str = field(metadata={"help": "which of the recipe's tasks"})
    scale: Scale = field(metadata={"help": "demo: offline, about a minute on two cores; full: the published setting"})
    seed: int = field(metadata={"help": "decides weights, order and dropout", "min": 0, "max": 2**32 - 1})
    run_dir: str = field(metadata={"help": "folder of the run; {recipe} {task} {id} are filled in"})
    resume: str | None = field(metadata={"help": "id or folder of a run to continue"})
    model: ModelOptions
    adapter: AdapterOptions
    data: DataOptions
    options: dict[str, Any] = field(metadata={"help": "what only this recipe can be told, as options.mask=0.2"})
    batch: BatchOptions
    optim: OptimOptions
    schedule: ScheduleOptions
    precision: PrecisionOptions
    memory: MemoryOptions
    strategy: StrategyOptions
    cluster: ClusterOptions
    tracker: TrackerOptions
    launcher: LauncherOptions
    train: TrainOptions
    eval: EvalOptions
    checkpoint: CheckpointOptions


GROUPS = (
    "recipe", "model", "adapter", "data", "batch", "optim", "schedule", "precision", "strategy", "cluster", "tracker",
    "launcher",
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One key of the configuration: its dotted name, annotated type and the metadata of its field."""

    name: str
    type: Any
    meta: Mapping[str, Any]

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def is_open(self) -> bool:
        """Whether the keys below this one depend on the model or the recipe, as below ``model.config``."""
        return typing.get_origin(self.type) is dict


def walk(owner: type, prefix: str = "") -> Iterator[Key]:
    """The keys of an option class and of those inside it, in their order."""
    hints = typing.get_type_hints(owner)
    for item in dataclasses.fields(owner):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from walk(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield Key(prefix + item.name, hints[item.name], item.metadata)


@functools.cache
def table() -> dict[str, Key]:
    """Every key by its dotted name, in the order of ``Config``."""
    return {key.name: key for key in walk(Config)}


def recipe_keys(recipe: str) -> dict[str, Key]:
    """The keys below ``options`` of this recipe, by dotted name."""
    return {key.name: key for key in walk(OPTIONS[recipe], "options.")} if recipe in OPTIONS else {}


def sections() -> tuple[str, ...]:
    """The names that hold further keys: groups (but ``recipe``) and the plain sections."""
    return tuple(dict.fromkeys(key.section for key in table().values() if key.section))


def below(section: str) -> list[str]:
    """The last words of the keys of a section."""
    return [name.removeprefix(f"{section}.") for name in table() if name.startswith(f"{section}.")]


def find(name: str) -> Key | None:
    """The key called ``name``, or the open key right above it (``model.config`` for ``model.config.depth``)."""
    key = table().get(name) or table().get(name.rpartition(".")[0])
    return key if key is None or key.name == name or key.is_open else None


def build(values: Mapping[str, Any]) -> Config:
    """The tree of dataclasses from checked values by dotted name; every key is present."""
    return _build(Config, "", values)


def _build(owner: type, prefix: str, values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(owner)
    return owner(
        **{
            item.name: _build(hints[item.name], f"{prefix}{item.name}.", values)
            if dataclasses.is_dataclass(hints[item.name])
            else values[prefix + item.name]
            for item in dataclasses.fields(owner)
        }
    )
