"""What ``explain=``, ``print=config`` and ``--help`` show."""

import json
from collections.abc import Sequence
from typing import Any

import yaml

from launchers.config import schema
from launchers.config.compose import Composed, Origin, compose
from launchers.config.errors import OptionError
from launchers.config.files import read
from launchers.config.load import Loaded, key_of
from launchers.config.model_fields import PREFIX, model_fields
from launchers.config.tree import Recipe, Tree
from launchers.config.values import accepts, show
from trainer.strategies import zero_config

USED = (
    "data.path", "model.source", "batch.tokens", "batch.max_length", "train.epochs", "train.steps", "optim.lr",
    "schedule.warmup", "eval.every", "checkpoint.every", "seed", "run_dir", "resume",
)  # fmt: skip


def explain(loaded: Loaded, name: str) -> str:
    """One key: value, allowed values, meaning and the chain of places that set it. A section: one line a key."""
    values, composed = flat(loaded.config), loaded.composed
    if name in (*schema.sections(), *schema.GROUPS) or (name in schema.table() and schema.table()[name].is_open):
        text = [_option(name, loaded)] if name in schema.GROUPS else []
        rows = [
            (key, show(value), _where(composed, key)) for key, value in values.items() if key.startswith(f"{name}.")
        ]
        return "\n".join([*text, *_table(rows)])
    key = key_of(name, loaded.recipe, composed.values)
    chain = composed.origins.get(name, [])
    if name.startswith(PREFIX) and name not in values:
        field = model_fields(loaded.config.model.name)[name]
        source = loaded.config.model.source
        chain = [Origin(f"config.json of {source}", "as saved") if source else Origin(field.where, field.text)]
    rows = [("accepts", accepts(key)), ("meaning", key.meta.get("help", "")), *_chain(chain)]
    if key.meta.get("option"):
        group = key.section
        if origin := composed.options.get(group):
            rows.append(("by", f"{group}={origin.text}   {origin.where}"))
    shown = show(values[name]) if name in values else chain[0].text
    return "\n".join([f"{name} = {shown}", *(f"   {word:<9}{text}".rstrip() for word, text in rows)])


def document(loaded: Loaded) -> str:
    """The whole configuration as YAML, each value with its origin as a comment; it reads back as the same values."""
    lines: list[tuple[str, str]] = []
    section: tuple[str, ...] = ()
    for name, value in flat(loaded.config).items():
        *above, leaf = name.split(".")
        for depth, part in enumerate(above):
            if tuple(above[: depth + 1]) != section[: depth + 1]:
                lines.append(("  " * depth + f"{part}:", ""))
        section = tuple(above)
        lines.append(("  " * len(above) + f"{leaf}: {_scalar(value)}", _where(loaded.composed, name)))
    width = min(48, max(len(text) for text, _ in lines))
    return "\n".join(f"{text:<{width}}  # {where}".rstrip() if where else text for text, where in lines) + "\n"


def deepspeed(config: schema.Config) -> str:
    """What a run of this configuration gives DeepSpeed on GPUs, as JSON. Raises ``OptionError`` for other strategies."""
    strategy = config.strategy
    if not strategy.name.startswith("deepspeed_"):
        users = " | ".join(name for name in zero_config.STAGES)
        raise OptionError(
            f"print=deepspeed and strategy={strategy.name}: DeepSpeed has no part in this run",
            "command line",
            (f"add strategy={users}",),
        )
    zero_config.check(strategy, config.precision.dtype)
    return json.dumps(zero_config.document(strategy, config.optim, config.precision.reduce), indent=2) + "\n"


def usage(tree: Tree) -> str:
    """The text of ``--help``: recipes, scales and the most used keys with their defaults."""
    composed = compose(tree, None, "", ())
    recipes = [tree.recipe(name) for name in tree.options("recipe")]
    table = schema.table()
    used = [(name, show(composed.values[name]), table[name].meta["help"]) for name in USED]
    groups = [
        (f"{group}={composed.options[group].text}", " | ".join(tree.options(group)))
        for group in schema.GROUPS
        if group != "recipe"
    ]
    default = read(tree.path("config")).data["scale"]
    return "\n".join(
        [
            "usage: python train.py recipe=NAME [task=NAME] [scale=demo|full] [group=option] [key=value] ...",
            "",
            "recipes",
            *_table([row for recipe in recipes for row in _recipe(recipe)]),
            "",
            "scales",
            *_table([(f"scale={default}" if word == default else f"scale={word}", text) for word, text in _SCALES]),
            "",
            "groups   (an option is a file in conf/GROUP; recipes and scales take their own)",
            *_table(groups),
            "",
            "keys     (the defaults; recipes and scales set their own)",
            *_table(used),
            "",
            "commands",
            *_table(_COMMANDS),
        ]
    )


def flat(config: schema.Config) -> dict[str, Any]:
    """Checked values by dotted name; open keys leaf by leaf, or ``{}``."""
    values: dict[str, Any] = {}
    for name, key in schema.table().items():
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        if key.is_open and value:
            values.update({f"{name}.{leaf}": item for leaf, item in value.items()})
        else:
            values[name] = value
    return values


_SCALES = (
    ("demo", "the default: offline, about a minute on two cores, a small model from scratch"),
    ("full", "the published setting: hub weights, full data, the paper's hyper-parameters"),
)
_COMMANDS = (
    ("recipe=NAME explain=KEY", "value, allowed values, meaning and origin of a key or of a section"),
    ("recipe=NAME print=config", "the whole configuration with the origin of every value"),
    ("recipe=NAME plan=true", "what the run would take of each GPU of cluster=, with print=json as JSON"),
    ("recipe=NAME strategy=deepspeed_zero2 print=deepspeed", "the JSON that DeepSpeed is given"),
    ("resume=ID", "continue a run"),
    ("--config-dir FOLDER", "files of your own, laid out like conf/"),
    ("--show 3", "print three examples as the model gets them, then train"),
    ("--multirun", "one run for each combination of values, as optim.lr=1e-5,2e-5"),
)


def _chain(origins: Sequence[Origin]) -> list[tuple[str, str]]:
    words = ["from", *["over"] * len(origins)]
    width = max((len(origin.text) for origin in origins), default=0)
    return [(word, f"{o.text:<{width}}   {o.where}") for word, o in zip(words, reversed(origins))]


def _option(group: str, loaded: Loaded) -> str:
    origin = loaded.composed.options.get(group)
    if origin is None:  # a resumed run keeps its keys, not the options they came from
        return f"{group}"
    return f"{group} = {origin.text}   {origin.where}   accepts: {' | '.join(loaded.tree.options(group))}"


def _where(composed: Composed, name: str) -> str:
    origins = composed.origins.get(name)
    return origins[-1].where if origins else ""


def _scalar(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


def _recipe(recipe: Recipe) -> list[tuple[str, str]]:
    tasks = [("", "task=" + "|".join(recipe.head.tasks))] if len(recipe.head.tasks) > 1 else []
    return [(f"recipe={recipe.name}", recipe.head.about), *tasks]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["   " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
