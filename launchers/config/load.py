"""A command line -> a checked ``Config``, or one ``OptionError``."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.registry import heads, names
from launchers.config import arguments as command_line
from launchers.config import schema
from launchers.config.arguments import Argument, UnknownKey
from launchers.config.combinations import refuse_combinations
from launchers.config.compose import Composed, Origin, compose
from launchers.config.errors import OptionError
from launchers.config.files import read
from launchers.config.flags import CommandLine, split
from launchers.config.model_fields import PREFIX, model_fields
from launchers.config.nearest import nearest
from launchers.config.saved import compose_saved, find_run
from launchers.config.tree import Recipe, Tree, read_tree
from launchers.config.values import accepts, check, choices, show

COMMANDS = {
    "explain": "explain=KEY says where a value comes from",
    "print": "print=config shows all values, print=deepspeed what DeepSpeed is given",
    "plan": "plan=true says what the run would take of each GPU of a cluster; print=json says it as JSON",
}
PRINTED = ("config", "deepspeed")


@dataclass(frozen=True)
class Loaded:
    """A checked configuration with the places its values came from, and what to do with it.

    ``command`` is ``("run", "")``, ``("explain", key)``, ``("print", one of PRINTED)`` or ``("plan", "table" | "json")``.
    """

    config: schema.Config
    composed: Composed
    tree: Tree
    recipe: Recipe
    command: tuple[str, str]


def load(argv: Sequence[str]) -> Loaded:
    """Compose and check the configuration that ``argv`` asks for.

    Raises ``OptionError`` for whatever does not fit; nothing but Hydra and YAML files has been read by then.
    """
    return load_line(split(argv))


def load_line(line: CommandLine) -> Loaded:
    """As ``load``, for a command line whose flags are read already."""
    tree = read_tree(line.folders)
    given, problem = _parse(line.settings)
    asked = [argument for argument in given if argument.key in COMMANDS]
    given = [argument for argument in given if argument.key not in COMMANDS]
    recipe, composed = _compose(tree, given, problem)
    if isinstance(problem, UnknownKey):
        raise unknown(problem, composed)
    if problem:
        raise problem
    values = _check(composed, recipe)
    refuse_combinations(values, composed)
    command = _command(asked, composed)
    return Loaded(schema.build(values), composed, tree, recipe, command)


def key_of(name: str, recipe: Recipe, values: Mapping[str, Any]) -> schema.Key:
    """The key called ``name`` with what this recipe and this model allow for it."""
    if name in (found := open_keys(recipe.name, values)):
        return found[name]
    key = schema.table()[name]
    known = {"task": lambda: recipe.head.tasks, "model.name": names, "model.head": lambda: heads(values["model.name"])}
    if name not in known:
        return key
    return dataclasses.replace(key, meta={**key.meta, "choices": tuple(known[name]())})


def open_keys(recipe: str | None, values: Mapping[str, Any]) -> dict[str, schema.Key]:
    """The keys below ``model.config`` and ``options``, as this model and this recipe have them."""
    fields = model_fields(values["model.name"]) if values.get("model.name") in names() else {}
    return {**{name: field.key for name, field in fields.items()}, **schema.recipe_keys(recipe)}


def unknown(problem: UnknownKey, composed: Composed) -> OptionError:
    """The message for a key that does not exist: the nearest one, its place, its value and what it accepts."""
    what = f"unknown key '{problem.key}'"
    fields = open_keys(composed.values.get("recipe"), composed.values)
    meant = nearest(problem.key, [*schema.table(), *schema.GROUPS, *schema.sections(), *COMMANDS, *fields])
    if meant is None:
        section = problem.key.rpartition(".")[0]
        near = [name for name in [*schema.table(), *fields] if name.rpartition(".")[0] == section]
        if section.partition(".")[0] == "hydra" or problem.key.startswith("hydra/"):
            return OptionError(f"{what} of a single run", problem.where, ("hydra.* goes with --multirun",))
        hint = f"{section} has {', '.join(n.rpartition('.')[2] for n in near)}" if section and near else ""
        return OptionError(what, problem.where, (hint or f"sections: {', '.join(schema.sections())}",))
    return OptionError(what, problem.where, (f"did you mean '{meant}'?", *_about(meant, composed)))


def _about(name: str, composed: Composed) -> tuple[str, ...]:
    """Place, current value and allowed values of a key, group or section, for a message."""
    if name in schema.GROUPS:
        origin = composed.options.get(name)
        return (origin.where, f"now {origin.text}") if origin else ()
    if name in schema.sections():
        return (f"below it: {', '.join(schema.below(name))}",)
    if name in COMMANDS:
        return (COMMANDS[name],)
    origins = composed.origins.get(name)
    now = (origins[-1].where, f"now {origins[-1].text}") if origins else ()
    if name.startswith(PREFIX) and not now:
        field = model_fields(composed.values["model.name"])[name]
        now = (field.where, f"now {field.text}")
    key = schema.table().get(name) or open_keys(composed.values["recipe"], composed.values)[name]
    return (*now, f"accepts: {accepts(key)}")


def _parse(
    settings: Sequence[tuple[int, str]],
) -> tuple[list[Argument], OptionError | UnknownKey | None]:
    """Every argument that can be read, and the first fault among the others."""
    given: list[Argument] = []
    problem: OptionError | UnknownKey | None = None
    for position, text in settings:
        try:
            given.append(command_line.parse(position, text, COMMANDS))
        except (OptionError, UnknownKey) as error:
            problem = problem or error
    return given, problem


def _compose(tree: Tree, given: Sequence[Argument], problem: Exception | None) -> tuple[Recipe, Composed]:
    resume = command_line.last(given, "resume")
    if resume and resume.value is not None:
        run = find_run(resume.value, resume.where)
        return compose_saved(tree, run, given)
    for argument in given:
        if argument.chooses:
            tree.require(argument.key, argument.value, argument.where)
    chosen = command_line.last(given, "recipe")
    if chosen is None:
        if isinstance(problem, OptionError):
            raise problem
        if problem is not None and nearest(problem.key, schema.GROUPS) == "recipe":
            raise unknown(problem, Composed({}, {}, {}))
        options = " | ".join(tree.options("recipe"))
        raise OptionError("no recipe is chosen", "command line", (f"write recipe={options}", "what there is: --help"))
    scale = command_line.last(given, "scale")
    if scale:
        _check_value(schema.table()["scale"], scale.value, [Origin(scale.where, scale.text)])
    recipe = tree.recipe(chosen.value)
    composed = compose(tree, recipe, scale.value if scale else _default_scale(tree), given)
    composed.values["recipe"] = recipe.name
    composed.origins["recipe"] = [Origin(chosen.where, chosen.text)]
    return recipe, composed


def _default_scale(tree: Tree) -> str:
    return read(tree.path("config")).data["scale"]


def _check(composed: Composed, recipe: Recipe) -> dict[str, Any]:
    """All values as their fields want them."""
    values = composed.values
    checked = {}
    for name in schema.table():
        checked[name] = _check_value(key_of(name, recipe, values), values[name], composed.origins.get(name, []))
    for above in ("model.config", "options"):
        checked[above] = {}
        for leaf, value in values[above].items():
            name = f"{above}.{leaf}"
            origins = composed.origins.get(name, [])
            if name not in open_keys(recipe.name, values):
                raise unknown(UnknownKey(name, origins[-1].where), composed)
            checked[above][leaf] = _check_value(key_of(name, recipe, values), value, origins)
    if missing := [
        name for name in schema.recipe_keys(recipe.name) if name.partition(".")[2] not in checked["options"]
    ]:
        raise OptionError(f"no {', '.join(missing)}", recipe.file.line("options"), ("a recipe gives all its options",))
    return checked


def _check_value(key: schema.Key, value: Any, origins: Sequence[Origin]) -> Any:
    try:
        return check(key, value)
    except ValueError as error:
        *earlier, last = origins or [Origin("conf/config.yaml", show(value))]
        otherwise = f"otherwise {earlier[-1].text} ({earlier[-1].where})" if earlier else ""
        meant = nearest(value, choices(key)) if isinstance(value, str) else None
        hints = (f"did you mean '{meant}'?" if meant else "", f"accepts: {accepts(key)}", otherwise)
        raise OptionError(f"{key.name}={last.text}: {error}", last.where, hints) from None


def _command(asked: Sequence[Argument], composed: Composed) -> tuple[str, str]:
    if wanted := command_line.last(asked, "plan"):
        return _plan(wanted, [argument for argument in asked if argument.key != "plan"])
    if not asked:
        return "run", ""
    argument = asked[-1]
    if argument.key == "print":
        if argument.value not in PRINTED:
            accepted = f"accepts: {' | '.join(PRINTED)}"
            raise OptionError(f"print={argument.value}: not something to print", argument.where, (accepted,))
        return "print", argument.value
    fields = open_keys(composed.values["recipe"], composed.values)
    if argument.value in (*schema.table(), *schema.sections(), *schema.GROUPS, *fields):
        return "explain", argument.value
    raise unknown(UnknownKey(argument.value, argument.where), composed)


def _plan(wanted: Argument, others: Sequence[Argument]) -> tuple[str, str]:
    if wanted.value != "true":
        raise OptionError(f"plan={wanted.value}: not a plan", wanted.where, ("accepts: true", "to train, leave it out"))
    for argument in others:
        if (argument.key, argument.value) != ("print", "json"):
            raise OptionError(
                f"plan=true with {argument.key}={argument.value}", argument.where, ("one at a time, or print=json",)
            )
    return "plan", "json" if others else "table"
