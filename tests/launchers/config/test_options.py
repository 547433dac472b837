"""The keys ``options.*`` are those of the recipe: a typo, a wrong type and a missing one are refused."""

import dataclasses
import typing

import pytest

from launchers.config.errors import OptionError
from launchers.config.load import load
from launchers.config.render import document, explain
from launchers.config.tree import read_tree
from recipes.task_options import OPTIONS


def test_a_recipe_s_own_option_is_typed_and_explained():
    loaded = load(["recipe=bert_mlm", "options.mask=0.3"])
    assert loaded.config.options["mask"] == 0.3 and loaded.config.options["whole_word"] is False
    said = explain(loaded, "options.mask")
    assert said.startswith("options.mask = 0.3") and "command line, argument 2" in said
    assert "conf/recipe/bert_mlm.yaml" in said and "number > 0 and <= 1" in said
    assert "options.whole_word" in explain(loaded, "options")
    assert "mask: 0.3" in document(loaded)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("options.msak=0.2", "did you mean 'options.mask'"),
        ("options.mask=2", "out of bounds"),
        ("options.whole_word=perhaps", "not true or false"),
    ],
)
def test_what_does_not_fit_is_refused(argument, message):
    with pytest.raises(OptionError, match=message):
        load(["recipe=bert_mlm", argument])


def test_an_option_of_another_recipe_is_unknown():
    with pytest.raises(OptionError, match=r"unknown key 'options.mask'"):
        load(["recipe=bert_glue", "options.mask=0.2"])


@pytest.mark.parametrize("recipe", OPTIONS)
def test_a_recipe_gives_all_its_options_and_each_is_explained(recipe):
    assert recipe in read_tree().options("recipe")
    config = load([f"recipe={recipe}"]).config
    assert OPTIONS[recipe](**config.options)
    assert typing.get_type_hints(OPTIONS[recipe]).keys() == config.options.keys()
    assert all(field.metadata["help"] for field in dataclasses.fields(OPTIONS[recipe]))
