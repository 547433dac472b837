"""From the chosen options and the command line to values, each with the chain of places that set it.

Order, later wins: options of the groups (Hydra's defaults list), the recipe, its scale, the command line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launchers.config import schema
from launchers.config.arguments import Argument
from launchers.config.errors import OptionError
from launchers.config.files import read
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
    config, files, options = _compose_groups(tree, {group: origin.text for group, origin in chosen.items()})
    written = {**tree.choices(), **(recipe.choices() if recipe else {})}
    taken = {g: chosen.get(g) or Origin(written[g].where, option) for g, option in options.items()}
    origins: dict[str, list[Origin]] = {}
    for name, prefix in files:
        for entry in read(tree.path(name)).entries():
            if entry.name.partition(".")[0] in (HEAD if name.startswith("recipe/") else ("defaults", "hydra")):
                continue
            refuse_unknown(entry, prefix)
            origins.setdefault(prefix + entry.name, []).append(Origin(entry.where, entry.text))
    for entry in layer:
        if entry.name not in schema.GROUPS:
            OmegaConf.update(config, entry.name, entry.value, force_add=True)
            origins.setdefault(entry.name, []).append(Origin(entry.where + note, entry.text))
    apply(config, origins, arguments)
    return Composed(flat(config, origins), origins, taken)


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
        OmegaConf.update(config, argument.key, argument.value, force_add=True)
        names = [argument.key]
        if isinstance(argument.value, Mapping):
            names = [f"{argument.key}.{name}" for name in argument.value]
        for name in names:
            text = argument.text if name == argument.key else show(OmegaConf.select(config, name))
            origins.setdefault(name, []).append(Origin(argument.where, text))


def _compose_groups(tree: Tree, choices: Mapping[str, str]) -> tuple[DictConfig, list[tuple[str, str]], dict[str, str]]:
    """Hydra's composition: the values, the files in their order with the prefix of their keys, the options taken."""
    overrides = [f"{group}={option}" for group, option in choices.items()]
    if len(tree.folders) > 1:
        overrides.append(f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in tree.folders[1:])}]")
    try:
        with initialize_config_dir(config_dir=str(tree.folders[0]), version_base="1.3"):
            config = hydra_compose("config", overrides=overrides)
            loader = GlobalHydra.instance().config_loader()
            found = loader.compute_defaults_list("config", overrides, RunMode.RUN)
    except (HydraException, OmegaConfBaseException):
        raise OptionError("the 'defaults:' lists of these options do not fit together", ", ".join(overrides)) from None
    OmegaConf.set_struct(config, False)
    files = [
        (item.config_path, f"{item.package}." if item.package else "")
        for item in found.defaults
        if item.config_path and not item.config_path.startswith("hydra") and item.package != "hydra"
    ]
    options = {group: option for group, option in found.overrides.known_choices.items() if group in schema.GROUPS}
    return config, files, options


def flat(config: DictConfig, origins: Mapping[str, Sequence[Origin]]) -> dict[str, Any]:
    """Values by dotted name, interpolations resolved. Open keys stay mappings."""
    values = {}
    for name, key in schema.table().items():
        try:
            value = OmegaConf.select(config, name, throw_on_missing=True)
            if isinstance(value, (DictConfig,)) or OmegaConf.is_list(value):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException:
            origin = origins[name][-1] if name in origins else Origin("conf/config.yaml", "???")
            raise OptionError(
                f"{name}={origin.text} refers to a key that is not there", origin.where, ("write ${section.key}",)
            ) from None
        values[name] = dict(value) if key.is_open and value else ({} if key.is_open else value)
    return values
