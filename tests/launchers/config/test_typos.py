"""One edit in any name is refused, and the name that was meant stands in the message."""

import random
import re
import string

import pytest

from launchers.config import schema
from launchers.config.errors import OptionError
from launchers.config.load import COMMANDS, load
from launchers.config.model_fields import model_fields
from launchers.config.nearest import distance, nearest
from launchers.config.tree import Tree

KEYS = [*schema.table(), *COMMANDS, *model_fields("bert")]
KEYS.remove("recipe")  # every command line below needs it
OPTIONS = [(group, option) for group in schema.GROUPS for option in Tree().options(group)]


def edit(rng, word):
    """``word`` after one insertion, deletion, substitution or swap of neighbours."""
    while True:
        i, letter = rng.randrange(len(word)), rng.choice(string.ascii_lowercase + "_.")
        edited = rng.choice(
            [
                word[:i] + letter + word[i:],
                word[:i] + word[i + 1 :],
                word[:i] + letter + word[i + 1 :],
                word[:i] + word[i : i + 2][::-1] + word[i + 2 :],
            ]
        )
        if edited != word and edited:
            return edited


def refusal(*argv):
    with pytest.raises(OptionError) as caught:
        load(argv)
    return str(caught.value)


def test_one_edit_in_a_key_is_refused_with_the_right_key():
    rng, right, count = random.Random(0), 0, 0
    known = {*schema.table(), *schema.GROUPS, *schema.sections(), *COMMANDS, *model_fields("bert")}
    for key in KEYS * 4:
        typo = edit(rng, key)
        if typo in known:
            continue
        message = refusal("recipe=bert_glue", f"{typo}=1")
        assert f"unknown key '{typo}'   (command line, argument 2)" in message
        right += f"did you mean '{key}'?" in message
        count += 1
    assert count >= 200
    assert right >= 0.95 * count, f"{right} of {count}"


def test_one_edit_in_an_option_is_refused_with_the_right_option():
    rng, right, count = random.Random(1), 0, 0
    for group, option in OPTIONS * 3:
        typo = edit(rng, option)
        if typo in Tree().options(group):
            continue
        message = refusal(f"{group}={typo}", *(["recipe=bert_glue"] if group != "recipe" else []))
        assert "(command line, argument 1)" in message
        right += f"did you mean '{group}={option}'?" in message
        count += 1
    assert count >= 40
    assert right >= 0.95 * count, f"{right} of {count}"


def test_one_edit_in_a_task_or_a_choice_is_refused_with_the_right_one():
    rng = random.Random(2)
    for key, value in [("task", "mnli"), ("scale", "full"), ("batch.layout", "bucketed"), ("model.head", "masked-lm")]:
        for _ in range(5):
            message = refusal("recipe=bert_glue", f"{key}={edit(rng, value)}")
            assert re.match(f"{key}=.* not one of its values   .command line, argument 2", message), message
            assert "accepts: " in message


def test_a_misspelt_recipe_key_is_recognised():
    assert "did you mean 'recipe'?" in refusal("recpie=bert_glue")


def test_the_message_has_place_value_and_allowed_values_of_the_key_that_was_meant():
    message = refusal("recipe=bert_glue", "task=qnli", "schedule.warmpu=0.1")
    assert message.startswith("unknown key 'schedule.warmpu'   (command line, argument 3)\n")
    assert re.search(r"did you mean 'schedule.warmup'\?   conf/recipe/bert_glue.yaml:\d+   now 6%", message)
    assert message.endswith("accepts: percent | steps | fraction")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("train.lr", "optim.lr"),
        ("train.warmpu", "schedule.warmup"),
        ("lr", "optim.lr"),
        ("optm", "optim"),
        ("Task", "task"),
    ],
)
def test_a_right_word_in_the_wrong_section_is_found(wrong, meant):
    assert f"did you mean '{meant}'?" in refusal("recipe=bert_glue", f"{wrong}=1")


def test_a_name_like_no_other_gets_the_sections():
    assert "sections: model, adapter, data, batch" in refusal("recipe=bert_glue", "frobnicate=1")
    assert "train has epochs, steps" in refusal("recipe=bert_glue", "train.frobnicate=1")


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "ab", 2), ("lr", "lr", 0), ("lr", "rl", 1), ("abc", "ac", 1), ("abc", "cab", 2), ("ca", "abc", 3)],
)
def test_distance_counts_edits(a, b, edits):
    assert distance(a, b) == distance(b, a) == edits


def test_nearest_of_nothing_is_nothing():
    assert nearest("optim.lr", []) is None
