"""The configuration of an earlier run, read back from its folder to continue it."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from launchers.config import schema
from launchers.config.arguments import Argument, last
from launchers.config.compose import Composed, Origin, apply, flat, option
from launchers.config.errors import OptionError
from launchers.config.files import read
from launchers.config.nearest import nearest
from launchers.config.tree import Recipe, Tree, refuse_unknown

NAME = "config.yaml"  # written into the run's folder when it starts


def find_run(name: str, where: str) -> Path:
    """The folder of a run by its path, or by the id that ends it below ``runs/``. Raises ``OptionError``."""
    folder = Path(name)
    if (folder / NAME).is_file():
        return folder
    runs = {path.parent.name: path.parent for path in sorted(Path("runs").glob(f"*/*/*/{NAME}"))}
    if name in runs:
        return runs[name]
    if folder.is_dir():
        raise OptionError(f"resume={name}: no {NAME} in this folder, so no run", where)
    meant = nearest(name, runs)
    newest = max(runs.values(), key=lambda path: path.stat().st_mtime, default=None)
    hint = f"did you mean '{meant}'?" if meant else f"newest: {newest.name}" if newest else "there is no run in runs/"
    raise OptionError(f"resume={name}: no such run", where, (hint, "accepts: id of a run | its folder"))


def compose_saved(tree: Tree, run: Path, arguments: Sequence[Argument]) -> tuple[Recipe, Composed]:
    """The run's own configuration with the keys of the command line over it."""
    file = read(run / NAME)
    origins = {}
    for entry in file.entries():
        refuse_unknown(entry)
        origins[entry.name] = [Origin(entry.where, entry.text)]
    missing = [name for name in schema.table() if name not in origins and not schema.table()[name].is_open]
    if missing:
        raise OptionError(
            f"no {', '.join(missing)}", file.shown, ("the run was started by another version; start anew",)
        )
    recipe = str(file.data["recipe"])
    for argument in arguments:
        if argument.chooses and argument.key == "strategy":  # how many processes there are changes nothing of a run
            tree.require(argument.key, argument.value, argument.where)
        elif argument.chooses and not (argument.key == "recipe" and argument.value == recipe):
            raise OptionError(
                f"{argument.key}={argument.value}: a resumed run keeps its options",
                argument.where,
                (f"its recipe is {recipe}" if argument.key == "recipe" else "change single keys, as train.epochs=5",),
            )
    tree.require("recipe", recipe, origins["recipe"][0].where)
    config = OmegaConf.create(file.data)
    strategy = last(arguments, "strategy")
    if strategy is not None:
        for entry in option(tree, "strategy", strategy.value):
            OmegaConf.update(config, f"strategy.{entry.name}", entry.value, merge=False)
            origins[f"strategy.{entry.name}"].append(Origin(entry.where, entry.text))
    apply(config, origins, [argument for argument in arguments if argument.key != "resume"])
    values = flat(config, origins)
    values["run_dir"], values["resume"] = str(run), str(run)
    resumed = next(Origin(argument.where, argument.text) for argument in arguments if argument.key == "resume")
    origins["run_dir"] = [resumed]
    origins["resume"] = [resumed]
    return tree.recipe(recipe), Composed(values, origins, {"recipe": origins["recipe"][0]})
