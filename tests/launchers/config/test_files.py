"""Mistakes in files of the user's own: each with file and line."""

import re

import pytest

from launchers.config import render
from launchers.config.errors import OptionError
from launchers.config.load import load

RECIPE = """\
# @package _global_
about: a recipe of mine
tasks: [one, two]
defaults:
  - override /schedule: cosine
task: one
model:
  head: sequence-classification
scales:
  demo:
    model: bert-small
    train.epochs: 1
  full:
    optim:
      lr: 2e-5
"""


def run(folder, recipe=RECIPE, *argv, **files):
    (folder / "recipe").mkdir(exist_ok=True)
    data = recipe if isinstance(recipe, bytes) else recipe.encode()
    (folder / "recipe" / "mine.yaml").write_bytes(data)
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yaml").write_text(text)
    return load([f"--config-dir={folder}", "recipe=mine", *argv])


def refusal(folder, recipe=RECIPE, *argv, **files):
    with pytest.raises(OptionError) as caught:
        run(folder, recipe, *argv, **files)
    assert "Traceback" not in str(caught.value) and "hydra" not in str(caught.value).lower().replace("--config-dir", "")
    return str(caught.value)


def test_a_folder_of_ones_own_adds_recipes_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = run(
        tmp_path, RECIPE, "optim=mild", optim__mild="name: adamw\nlr: 1e-6\ndecay: 0\nbetas: [0.9, 0.9]\neps: 1e-8\n"
    )
    assert (loaded.config.task, loaded.config.schedule.name, loaded.config.train.epochs) == ("one", "cosine", 1.0)
    assert loaded.config.optim.lr == 1e-6
    assert loaded.composed.origins["optim.lr"][-1].where == "optim/mild.yaml:2"
    assert run(tmp_path, RECIPE, "scale=full").config.optim.lr == 2e-5
    assert ["recipe=mine", "a", "recipe", "of", "mine"] in [
        line.split() for line in render.usage(loaded.tree).splitlines()
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("task: one", "tsak: one", r"unknown key 'tsak'   \(.*recipe/mine.yaml:6\)\n   did you mean 'task'\?"),
        ("  head:", "  haed:", r"unknown key 'model.haed'   \(.*mine.yaml:8\)\n   did you mean 'model.head'\?"),
        ("  head:", "\thead:", r"a tab where YAML wants spaces   \(.*mine.yaml:8\)"),
        ("task: one", "task: one\ntask: two", r"not YAML: found duplicate key task   \(.*mine.yaml:7\)"),
        ("tasks: [one, two]", "tasks: [one, two", r"not YAML: .*mine.yaml:\d"),
        ("tasks: [one, two]", "tasks: one", r"tasks: not of the form \[text,...\]   \(.*mine.yaml:3\)"),
        ("about: a recipe of mine", "# nothing", r"about: a value is needed   \(.*mine.yaml:1\)\n   about is one line of text"),
        ("# @package _global_", "#", r"its first line: # @package _global_"),
        ("task: one", "task: three", r"task=three: not one of its values   \(.*mine.yaml:6\)\n   .*one \| two"),
        ("task: one", "task: one\ntrain: {clip: much}", r"train.clip=much: not a number   \(.*mine.yaml:7\)"),
        ("task: one", "schedule: linear", r"goes below 'defaults:'   \(.*mine.yaml:6\)\n   - override /schedule: linear"),
        ("task: one", "train: 3", r"'train' is a section   \(.*mine.yaml:6\)"),
        ("task: one", "schedule: {name: linear}", r"schedule.name is set by choosing an option of group 'schedule'"),
        ("/schedule: cosine", "/schedule: cosin", r"unknown option 'cosin'.*mine.yaml:5\)\n   did you mean 'schedule=cosine'"),
        ("/schedule: cosine", "/schedul: cosine", r"not a choice.*mine.yaml:5\)\n   did you mean 'override /schedule'"),
        ("override /schedule: cosine", "schedule: cosine", r"not a choice of an option.*mine.yaml:5"),
        ("  demo:", "  dmeo:", r"unknown scale 'dmeo'   \(.*mine.yaml:10\)\n   accepts: demo \| full"),
        ("    model: bert-small", "    model: bert-smal", r"unknown option 'bert-smal'.*mine.yaml:11\)"),
        ("    train.epochs: 1", "    train.epoch: 1", r"unknown key 'train.epoch'.*:12\)\n   did you mean 'train.epochs'"),
        ("      lr: 2e-5", "      rl: 2e-5", r"unknown key 'optim.rl'   \(.*mine.yaml:15\)\n   did you mean 'optim.lr'"),
        ("    train.epochs: 1", "    train.epochs: -1", r"train.epochs=-1: out of bounds .*mine.yaml:12, scale demo\)"),
        ("task: one", "seed: ${sede}", r"seed=\$\{sede\} refers to a key that is not there   \(.*mine.yaml:6\)"),
        ("task: one", "<<: {seed: 1}", r"a key must be a plain word   \(.*mine.yaml:6\)"),
        (RECIPE, "- a\n- b\n", r"not a mapping of keys to values   \(.*mine.yaml:1\)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_recipe_has_its_line(tmp_path, old, new, said):
    assert old in RECIPE
    message = refusal(tmp_path, RECIPE.replace(old, new, 1))
    assert re.search(said, message), message


def test_both_scales_of_a_recipe_are_there(tmp_path):
    assert "a recipe needs the scale 'full'" in refusal(tmp_path, RECIPE[: RECIPE.index("  full:")])


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    assert re.search(r"not UTF-8 at byte 20   \(.*mine.yaml\)", refusal(tmp_path, b"# @package _global_\n\xff\xfe"))


def test_a_mistake_in_an_option_has_its_line(tmp_path):
    message = refusal(tmp_path, RECIPE, "optim=wild", optim__wild="name: adamw\nlrr: 1\n")
    assert re.search(r"unknown key 'lrr'   \(.*optim/wild.yaml:2\)\n   did you mean 'lr'\?", message)


def test_an_option_that_leaves_a_key_without_value_is_refused(tmp_path):
    message = refusal(tmp_path, RECIPE, "optim=bare", optim__bare="name: adamw\nlr: 1\n")
    assert "optim.decay" in message and "a value is needed" in message


def test_a_file_of_the_name_of_ours_is_refused(tmp_path):
    message = refusal(tmp_path, RECIPE, optim__adamw="name: adamw\n")
    assert re.search(r"optim/adamw.yaml hides behind conf/optim/adamw.yaml\n   rename your file", message)


def test_groups_that_pull_in_what_is_not_there_are_refused(tmp_path):
    message = refusal(tmp_path, RECIPE, "optim=lost", optim__lost="defaults:\n  - _nowhere\nname: adamw\n")
    assert "do not fit together" in message and "optim=lost" in message
