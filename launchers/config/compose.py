"""From the chosen options and the command line to values, each with the chain of places that set it.

Order, later wins: options of the groups (Hydra's defaults list), the recipe, its scale, the command line.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launchers.config import schema
from launchers.config.arguments import Argument
from launchers.config.errors import OptionError
from launchers.config.files import Entry, read
from launchers.config.tree import HEAD, Recipe, Tree, refuse_unknown
from launchers.config.values import show


@dataclass(frozen=True)
class Origin:
    """One place that set a key: ``where`` (file:line or argument) and the value as written there."""

    where: str
    text: str


@dataclass
class Composed:
    """Values by dotted name, not yet checked; for each the places that set it, the last one decides.

    ``options`` says for every group which option was taken and where that was written.
    """

    values: dict[str, Any]
    origins: dict[str, list[Origin]]
    options: dict[str, Origin]


def compose(tree: Tree, recipe: Recipe | None, scale: str, arguments: Sequence[Argument]) -> Composed:
    """The configuration of a recipe at a scale; without a recipe the defaults of the groups."""
    note = f", scale {scale}"
    layer = recipe.scale(scale) if recipe else []
    chosen = {e.name: Origin(e.where + note, e.text) for e in layer if e.name in schema.GROUPS}
    chosen |= {a.key: Origin(a.where, a.value) for a in arguments if a.chooses}
    files, options = _files(tree, tuple((group, origin.text) for group, origin in chosen.items()))
    written = {**tree.choices(), **(recipe.choices() if recipe else {})}
    taken = {group: chosen.get(group) or Origin(written[group].where, option) for group, option in options.items()}
    config = OmegaConf.create()
    origins: dict[str, list[Origin]] = {}
    for name, section in files:
        prefix = f"{section}." if section else ""
        for entry in read(tree.path(name)).entries():
            if entry.name.partition(".")[0] in (HEAD if name.startswith("recipe/") else ("defaults", "hydra")):
                continue
            refuse_unknown(entry, prefix)
            _set(config, origins, prefix + entry.name, entry.value, Origin(entry.where, entry.text))
    for entry in layer:
        if entry.name not in schema.GROUPS:
            _set(config, origins, entry.name, entry.value, Origin(entry.where + note, entry.text))
    apply(config, origins, arguments)
    return Composed(flat(config, origins), origins, taken)


def option(tree: Tree, group: str, name: str) -> list[Entry]:
    """What one option of a group sets, with the shared parts that its ``defaults:`` bring in, in their order."""
    files, _ = _files(tree, ((group, name),))
    mine = [file for file, section in files if section == group]
    return [entry for file in mine for entry in read(tree.path(file)).entries() if entry.name != "defaults"]


def apply(config: DictConfig, origins: dict[str, list[Origin]], arguments: Sequence[Argument]) -> None:
    """Lay the keys of the command line over ``config``."""
    for argument in arguments:
        if argument.chooses:
            continue
        if argument.removes:
            above, _, leaf = argument.key.rpartition(".")
            if leaf not in (OmegaConf.select(config, above) or {}):
                raise OptionError(f"'~{argument.key}': it is not set", argument.where)
            del OmegaConf.select(config, above)[leaf]
            origins.pop(argument.key, None)
            continue
        if isinstance(argument.value, Mapping) and schema.find(argument.key).is_open:
            for leaf, value in argument.value.items():
                _set(config, origins, f"{argument.key}.{leaf}", value, Origin(argument.where, show(value)))
        else:
            _set(config, origins, argument.key, argument.value, Origin(argument.where, argument.text))


@functools.lru_cache(maxsize=256)
def _files(tree: Tree, choices: tuple[tuple[str, str], ...]) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """Hydra's answer to the choices: the files in their order, each with its section, and the option of every group."""
    chosen = [f"{group}={option}" for group, option in choices]
    overrides = list(chosen)
    if len(tree.folders) > 1:
        overrides.append(f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in tree.folders[1:])}]")
    try:
        with initialize_config_dir(config_dir=str(tree.folders[0]), version_base="1.3"):
            found = GlobalHydra.instance().config_loader().compute_defaults_list("config", overrides, RunMode.RUN)
    except (HydraException, OmegaConfBaseException):
        raise OptionError("the 'defaults:' lists of these options do not fit together", ", ".join(chosen)) from None
    files = tuple(
        (item.config_path, item.package or "")
        for item in found.defaults
        if item.config_path and not item.config_path.startswith("hydra/")
    )
    return files, {group: option for group, option in found.overrides.known_choices.items() if group in schema.GROUPS}


def _set(config: DictConfig, origins: dict[str, list[Origin]], name: str, value: Any, origin: Origin) -> None:
    OmegaConf.update(config, name, value, merge=False, force_add=True)
    origins.setdefault(name, []).append(origin)


def flat(config: DictConfig, origins: Mapping[str, Sequence[Origin]]) -> dict[str, Any]:
    """Values by dotted name, interpolations resolved. Open keys stay mappings."""
    values = {}
    for name, key in schema.table().items():
        try:
            value = OmegaConf.select(config, name, throw_on_missing=True)
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException:
            origin = origins[name][-1] if name in origins else Origin("conf/config.yaml", "???")
            raise OptionError(
                f"{name}={origin.text} refers to a key that is not there", origin.where, ("write ${section.key}",)
            ) from None
        values[name] = {} if key.is_open and value is None else value
    return values
