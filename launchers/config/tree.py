"""``conf/`` on disk: which options a group has, and the head of a recipe file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launchers.config import schema
from launchers.config.errors import OptionError
from launchers.config.files import ConfigFile, Entry, read, shorten
from launchers.config.nearest import nearest
from launchers.config.values import check, choices
from recipes.options import RecipeOptions

CONF = Path(__file__).resolve().parents[2] / "conf"
_CHOICE = "write   - override /group: option"
HEAD = (*(key.name for key in schema.walk(RecipeOptions)), "defaults")  # what a recipe file holds beside settings


@dataclass(frozen=True)
class Tree:
    """The project's ``conf/`` and, behind it, a folder of the user's own laid out in the same way."""

    folders: tuple[Path, ...] = (CONF,)

    def options(self, group: str) -> list[str]:
        """The options of a group; files whose name begins with ``_`` are shared parts of options."""
        found = {path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")}
        return sorted(name for name in found if not name.startswith("_"))

    def path(self, name: str) -> Path:
        """The file of ``group/option``, or of ``config``."""
        return next(path for folder in self.folders if (path := folder / f"{name}.yaml").is_file())

    def require(self, group: str, option: str, where: str, now: str = "") -> None:
        """Refuse an option that the group does not have."""
        options = self.options(group)
        if option in options:
            return
        meant = nearest(option, options)
        what = f"unknown recipe '{option}'" if group == "recipe" else f"unknown option '{option}' of group '{group}'"
        raise OptionError(
            what, where, (f"did you mean '{group}={meant}'?" if meant else "", now, f"accepts: {' | '.join(options)}")
        )

    def recipe(self, name: str) -> "Recipe":
        """The recipe file, its form checked."""
        recipe = Recipe(name, read(self.path(f"recipe/{name}")))
        recipe.check(self)
        return recipe

    def choices(self) -> dict[str, Entry]:
        """The option that each group has by default, as ``config.yaml`` lists them."""
        items = [item for item in read(self.path("config")).items("defaults") if isinstance(item.value, dict)]
        return {group: Entry(group, option, str(option), i.where) for i in items for group, option in i.value.items()}

    def twice(self) -> None:
        """Refuse a user's file that has the name of one of ours: only one of them would be read."""
        seen: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.rglob("*.yaml")):
                name = path.relative_to(folder).as_posix()
                if name in seen:
                    raise OptionError(f"{shorten(path)} hides behind {shorten(seen[name])}", "", ("rename your file",))
                seen[name] = path


@dataclass(frozen=True)
class Recipe:
    """A file of ``conf/recipe``: its head, and what it sets."""

    name: str
    file: ConfigFile

    @cached_property
    def head(self) -> RecipeOptions:
        """What the recipe is. Raises ``OptionError`` where the file does not say it."""
        found = {}
        for key in schema.walk(RecipeOptions):
            try:
                found[key.name] = check(key, self.file.data.get(key.name))
            except ValueError as error:
                hint = f"{key.name} is {key.meta['help']}"
                raise OptionError(f"{key.name}: {error}", self.file.line(key.name), (hint,)) from None
        return RecipeOptions(**found)

    @cached_property
    def settings(self) -> list[Entry]:
        """What the recipe sets in any scale."""
        return [entry for entry in self.file.entries() if entry.name.partition(".")[0] not in HEAD]

    def scale(self, scale: str) -> list[Entry]:
        """What one scale sets: options of groups and keys, as on the command line."""
        return self.file.entries("scales", scale)

    def check(self, tree: Tree) -> None:
        """Refuse a recipe file that cannot be what it says, each fault with its line."""
        first = self.file.text.partition("\n")[0].split()
        if first != ["#", "@package", "_global_"]:
            raise OptionError(
                "a recipe sets keys of all groups", self.file.line(), ("its first line: # @package _global_",)
            )
        scales = choices(schema.table()["scale"])
        for entry in self.file.entries("scales", deep=False):
            if entry.name not in scales:
                raise OptionError(f"unknown scale '{entry.name}'", entry.where, (f"accepts: {' | '.join(scales)}",))
        for scale in scales:
            if scale not in self.head.scales:
                raise OptionError(f"a recipe needs the scale '{scale}'", self.file.line("scales"))
        for entry in self.settings:
            if entry.name in schema.GROUPS:
                hint = f"- override /{entry.name}: {entry.text}"
                raise OptionError(f"an option of group '{entry.name}' goes below 'defaults:'", entry.where, (hint,))
            refuse_unknown(entry)
            if schema.table()[schema.find(entry.name).name].meta.get("option"):
                group = entry.name.partition(".")[0]
                raise OptionError(
                    f"{entry.name} is set by choosing an option of group '{group}'",
                    entry.where,
                    (f"write below 'defaults:'   - override /{group}: {entry.text}",),
                )
        for scale in scales:
            for entry in self.scale(scale):
                if entry.name in schema.GROUPS:
                    tree.require(entry.name, str(entry.value), entry.where)
                else:
                    refuse_unknown(entry)
        self._check_choices(tree)

    def choices(self) -> dict[str, Entry]:
        """The options that the recipe takes in its ``defaults:``, by group."""
        found = {}
        for item in self.file.items("defaults"):
            if isinstance(item.value, dict) and len(item.value) == 1:
                words, option = next(iter(item.value.items()))
                found[str(words).partition("/")[2]] = Entry(str(words), option, str(option), item.where)
        return found

    def _check_choices(self, tree: Tree) -> None:
        for item in self.file.items("defaults"):
            if item.value != "_self_" and not isinstance(item.value, dict):
                raise OptionError(f"not a choice of an option: {item.text}", item.where, (_CHOICE,))
        for group, entry in self.choices().items():
            if entry.name != f"override /{group}" or group not in schema.GROUPS:
                meant = nearest(group, schema.GROUPS)
                hint = f"did you mean 'override /{meant}'?" if meant else _CHOICE
                raise OptionError(f"not a choice of an option: {entry.name}: {entry.text}", entry.where, (hint,))
            tree.require(group, entry.text, entry.where)


def refuse_unknown(entry: Entry, prefix: str = "") -> None:
    """Refuse a key of a file that the configuration does not have."""
    name = prefix + entry.name
    if name in schema.sections():
        raise OptionError(f"'{name}' is a section", entry.where, (f"below it: {', '.join(schema.below(name))}",))
    if schema.find(name) is None:
        meant = nearest(name, schema.table())
        shown = meant.removeprefix(prefix) if meant else ""
        raise OptionError(f"unknown key '{entry.name}'", entry.where, (f"did you mean '{shown}'?" if meant else "",))


def read_tree(folders: Sequence[Path] = ()) -> Tree:
    """The project's tree with the user's folders behind it."""
    tree = Tree((CONF, *folders))
    tree.twice()
    return tree
