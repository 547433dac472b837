"""Where a value came from: the chain of places, ``explain=`` and ``print=config``."""

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from launchers.config import render, schema
from launchers.config.compose import compose
from launchers.config.load import load
from launchers.config.tree import CONF, HEAD, Tree


def origins(name, *argv):
    return load(["recipe=bert_glue", *argv]).composed.origins[name]


def explained(name, *argv):
    loaded = load(["recipe=bert_glue", *argv, f"explain={name}"])
    assert loaded.command == ("explain", name)
    return render.explain(loaded, name)


def line_of(root, where):
    """The line of the file that ``where`` points at."""
    path, _, line = where.partition(",")[0].rpartition(":")
    return (root / path).read_text().splitlines()[int(line) - 1]


@pytest.mark.parametrize("scale", ["demo", "full"])
@pytest.mark.parametrize("recipe", Tree().options("recipe"))
def test_every_origin_in_a_file_is_the_line_that_says_so(root, recipe, scale):
    loaded = load([f"recipe={recipe}", f"scale={scale}"])
    for name, chain in loaded.composed.origins.items():
        for origin in chain:
            if not origin.where.startswith("command line"):
                key, _, text = line_of(root, origin.where).partition(":")
                assert key.strip() in (name, name.rpartition(".")[2])
                assert text.partition(" #")[0].strip() == origin.text or not text.strip()


def test_the_chain_goes_from_group_to_recipe_to_scale_to_command_line():
    chain = [origin.where for origin in origins("optim.lr", "optim.lr=1", "optim.lr=2")]
    assert chain[0].startswith("conf/optim/adamw.yaml:")
    assert chain[1].startswith("conf/recipe/bert_glue.yaml:") and chain[1].endswith(", scale demo")
    assert chain[2:] == ["command line, argument 2", "command line, argument 3"]


def test_what_decides_is_the_last_link():
    loaded = load(["recipe=bert_glue", "optim.lr=0.5", "train.steps=7"])
    for name, value in render.flat(loaded.config).items():
        chain = loaded.composed.origins[name]
        if chain[-1].text in ("0.5", "7", "null"):
            assert {"0.5": 0.5, "7": 7, "null": None}[chain[-1].text] == value


def test_explain_says_value_type_meaning_and_chain():
    text = explained("optim.lr", "optim.lr=3e-5").splitlines()
    assert text[0] == "optim.lr = 3e-5"
    assert text[1].split(maxsplit=1) == ["accepts", "number > 0"]
    assert text[2].split(maxsplit=1) == ["meaning", schema.table()["optim.lr"].meta["help"]]
    assert text[3].split(maxsplit=2) == ["from", "3e-5", "command line, argument 2"]
    assert [line.split()[0] for line in text[4:]] == ["over", "over"]
    assert "conf/optim/adamw.yaml:" in text[-1]


def test_explain_of_an_options_own_key_says_who_took_the_option():
    assert "by       precision=bf16   command line, argument 2" in explained("precision.dtype", "precision=bf16")
    assert "by       schedule=linear   conf/recipe/bert_glue.yaml:" in explained("schedule.name")
    assert "by       optim=adamw   conf/config.yaml:" in explained("optim.name")


def test_explain_of_a_section_has_one_line_a_key():
    lines = explained("train", "train.steps=9").splitlines()
    assert [line.split()[0] for line in lines] == [name for name in schema.table() if name.startswith("train.")]
    assert lines[1].split(maxsplit=2) == ["train.steps", "9", "command line, argument 2"]


def test_explain_of_a_group_begins_with_its_option(root):
    first = explained("schedule").splitlines()[0]
    assert first.startswith("schedule = linear   conf/recipe/bert_glue.yaml:")
    assert "override /schedule: linear" in line_of(root, first.split()[3])


def test_explain_knows_fields_of_the_model_that_nobody_set(root):
    text = explained("model.config.dropout")
    assert text.startswith("model.config.dropout = 0.1") and "accepts  number" in text
    assert "dropout: float = 0.1" in line_of(root, text.splitlines()[-1].split()[-1])
    assert "config.json of google-bert/bert-base-uncased" in explained("model.config.dropout", "scale=full")


def test_explain_knows_the_tasks_of_the_recipe():
    assert "accepts  sst2 | cola | mrpc" in explained("task")


@pytest.mark.parametrize("scale", ["demo", "full"])
def test_the_printed_configuration_reads_back_as_the_same_values(scale):
    loaded = load(["recipe=bert_glue", f"scale={scale}", "data.path=a #b: 'c'", "schedule.warmup=7", "print=config"])
    assert loaded.command == ("print", "config")
    text = render.document(loaded)
    read = yaml.safe_load(text)
    for name, value in render.flat(loaded.config).items():
        found = read
        for part in name.split("."):
            found = found[part]
        assert found == (list(value) if isinstance(value, tuple) else value)
    assert next(line for line in text.splitlines() if "warmup" in line).endswith("# command line, argument 4")


@pytest.mark.parametrize("group", [group for group in schema.GROUPS if group != "recipe"])
def test_hydra_composes_the_same_values_from_the_same_files(group):
    """conf/ is an ordinary Hydra tree: without a scale Hydra itself arrives at what we read line by line."""
    recipe = Tree().recipe("bert_glue")
    for option in Tree().options(group):
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            theirs = hydra_compose("config", overrides=["recipe=bert_glue", f"{group}={option}"])
        theirs = {k: v for k, v in OmegaConf.to_container(theirs).items() if k not in HEAD}
        ours = compose(Tree(), recipe, "", [_argument(group, option), _argument("recipe", "bert_glue")])
        for name in schema.table():
            found = theirs
            for part in name.split("."):
                found = found.get(part) if found else None
            assert name == "recipe" or found == ours.values[name]


def _argument(key, value):
    from launchers.config.arguments import Argument

    return Argument(1, key, value, value)


def test_help_lists_recipes_scales_groups_and_defaults():
    text = render.usage(Tree())
    for name in Tree().options("recipe"):
        assert f"recipe={name}" in text and Tree().recipe(name).head.about in text
    assert "scale=demo" in text and "scale=full" in text
    for group in schema.GROUPS[1:]:
        assert all(option in text for option in Tree().options(group))
    for name in render.USED:
        assert name in schema.table() and name in text
