"""What is taken, what is refused, and that a value of the command line arrives."""

import dataclasses
import string
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchers.config import schema
from launchers.config.errors import OptionError
from launchers.config.load import key_of, load
from launchers.config.tree import Tree
from launchers.config.values import accepts, is_text

LOADED = load(["recipe=bert_glue"])
SMALL = LOADED.config.model.config
BOTH = {  # what else must be said for a value to be possible
    "batch.size": ["batch.tokens=null"],
    "data.weights": ["data.path=[a,b]"],
    "data.stream": ["data.path=a", "batch.tokens=null", "batch.size=8"],
}
OPEN = {name for name, key in schema.table().items() if key.is_open}  # sections of their own
APART = {"batch.tokens", "batch.max_length", "resume", "model.name"}  # bound by another key; tested below


def refusal(*argv):
    with pytest.raises(OptionError) as caught:
        load(["recipe=bert_glue", *argv])
    assert caught.value.exit_code == 2
    return str(caught.value)


def value_of(config, name):
    for part in name.split("."):
        config = getattr(config, part)
    return config


def texts():
    plain = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30)
    return plain.filter(lambda t: t == t.strip() and t not in ("null", "???") and "${" not in t and t[0] not in "'\"")


def values(key):
    """(text on the command line, value that must arrive) for everything that ``key`` takes."""
    meta = key.meta
    if "choices" in meta:
        return st.sampled_from(meta["choices"]).map(lambda v: (v, v))
    if meta.get("kind") == "share":
        percent = st.integers(0, 100).map(lambda v: (f"{v}%", v / 100))
        return percent | st.integers(0, 10**6).map(lambda v: (str(v), v)) | st.floats(0, 1).map(lambda v: (repr(v), v))
    low = meta.get("min", meta.get("above", -1e6))
    numbers = st.floats(low, meta.get("below", 1e6), exclude_min="above" in meta, exclude_max="below" in meta)
    made = []
    for part in (
        typing.get_args(key.type) if typing.get_origin(key.type) not in (typing.Literal, tuple) else (key.type,)
    ):
        if typing.get_origin(part) is typing.Literal:
            made.append(st.sampled_from(typing.get_args(part)).map(lambda v: (v, v)))
        elif typing.get_origin(part) is tuple and typing.get_args(part)[0] is str:
            words = st.lists(st.text(string.ascii_letters, min_size=1), min_size=1).map(tuple)
            made.append(words.map(lambda v: (f"{list(v)}", v)))
        elif typing.get_origin(part) is tuple:
            made.append(st.tuples(numbers, numbers).map(lambda v: (f"[{v[0]!r},{v[1]!r}]", v)))
        elif part is int:
            made.append(st.integers(int(low), 10**6).map(lambda v: (str(v), v)))
        elif part is float:
            made.append(numbers.map(lambda v: (repr(v), v)))
        elif part is type(None):
            made.append(st.just(("null", None)))
        elif part is bool:
            made.append(st.sampled_from([("true", True), ("false", False)]))
        elif part is str:
            made.append(texts().map(lambda v: (v, v)))
    if not made:
        return values(dataclasses.replace(key, type=key.type | None)).filter(lambda v: v[1] is not None)
    return st.one_of(made)


@pytest.mark.parametrize("name", [n for n in schema.table() if n not in {"recipe", *OPEN, *APART}])
def test_a_valid_value_arrives_and_is_known_to_come_from_its_argument(name):
    others = ["recipe=bert_glue", "seed=7", *BOTH.get(name, [])]

    @settings(max_examples=8, deadline=None)
    @given(values(key_of(name, LOADED.recipe, LOADED.composed.values)), st.data())
    def check(pair, data):
        text, value = pair
        at = data.draw(st.integers(0, len(others)))
        argv = (
            [*others[:at], f"{name}={text}", *others[at:]] if name != "seed" else ["recipe=bert_glue", f"seed={text}"]
        )
        if name in ("train.epochs", "schedule.warmup") or (name == "batch.size" and value is None):
            argv += ["train.steps=1000000"] + (["batch.tokens=4096"] if name == "batch.size" else [])
        loaded = load(argv)
        got = value_of(loaded.config, name)
        assert got == value and type(got) is type(value)
        assert loaded.composed.origins[name][-1].where == f"command line, argument {argv.index(f'{name}={text}') + 1}"

    check()


@pytest.mark.parametrize("name", [n for n, key in schema.table().items() if not is_text(key) and n not in OPEN])
def test_a_value_of_a_wrong_type_is_refused_with_what_is_allowed(name):
    truth = "7" if schema.table()[name].type is bool else "true"
    numbers = "[a,b]" if name == "data.weights" else "[1,2,3]"
    for text in ["nonsense", numbers, "{a:1}", "''", truth]:
        message = refusal(f"{name}={text}")
        assert f"{name}={text}: " in message and "(command line, argument 2)" in message
        assert f"accepts: {accepts(schema.table()[name])}" in message


@pytest.mark.parametrize(
    "setting",
    [
        "optim.lr=0", "optim.lr=-1e-3", "optim.lr=nan", "optim.lr=inf", "optim.decay=-0.1", "optim.betas=[0.9,1.0]",
        "optim.betas=[-0.1,0.9]", "optim.betas=[0.9]", "batch.accumulate=0", "batch.tokens=0", "batch.size=0",
        "train.epochs=0", "train.steps=0", "train.clip=0", "train.log_every=0", "checkpoint.keep=0", "eval.every=0",
        "eval.patience=0", "schedule.warmup=101%", "schedule.warmup=-1", "schedule.warmup=1.5", "schedule.warmup=x%",
        "seed=-1", "seed=1.5", "train.steps=1e3", "batch.tokens=true", "optim.lr=null", "seed=null", "task=null",
        "task=snli", "scale=half", "model.name=brt", "model.head=none", "model.config.width=small",
        "model.config.dropout=null", "model.config.causal=1", "optim.lr=", "optim.lr=???", "optim.lr='1e-3'",
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused(setting):
    name, _, text = setting.partition("=")
    message = refusal("seed=1", setting)
    assert message.startswith(f"{name}={text}")
    assert "(command line, argument 3)" in message


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            ["batch.tokens=64", "batch.size=32"],
            ["batch.size=32", "batch.tokens=64", "argument 3; command line, argument 2"],
        ),
        (["batch.tokens=null"], ["batch.size and batch.tokens are both null", "conf/batch/_base.yaml:", "argument 2"]),
        (["batch.tokens=32", "batch.max_length=64"], ["batch.tokens=32", "batch.max_length=64", "at least 64"]),
        (["train.steps=null", "train.epochs=null"], ["train.epochs and train.steps are both null", "argument 2"]),
        (
            ["model=bert-base", "model.config.depth=3"],
            ["model.config.depth", "model.source=google-bert", "argument 3; conf/"],
        ),
        (["schedule.warmup=50", "train.steps=20"], ["schedule.warmup=50", "train.steps=20", "argument 2; command"]),
    ],
)
def test_values_that_cannot_stand_together_are_refused_with_both_places(settings, names):
    message = refusal(*settings)
    assert all(name in message for name in names), message


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optim.lr", "'optim.lr' has no '='   (command line, argument 2)"),
        ("optim.lr:0.1", "write optim.lr=0.1"),
        ("=3", "no key before '='"),
        ("optim=3", "unknown option '3' of group 'optim'"),
        ("optim={lr:3}", "single keys: optim.KEY=VALUE"),
        ("train={epochs:3}", "'train' is a section"),
        ("~optim.eps", "'~optim.eps' would leave optim.eps without a value"),
        ("~optim", "a run needs its optim"),
        ("~model.config.dropout", "it is not set"),
        ("optim.betas=[0.9,0.99", "optim.betas=[0.9,0.99: not a value"),
        ("optim.lr=${", "accepts: number > 0"),
        ("optim.lr=${oc.env:NO_SUCH_VARIABLE}", "refers to a key that is not there"),
        ("data.columns=text", "accepts: [text,...] | null"),
        ("model.config.width.x=3", "did you mean 'model.config.width'?"),
        ("print", "write print=VALUE"),
        ("", "'' has no '='"),
        ("optim.lr=1e-3,1e-4", "add --multirun"),
        ("optim.lr=${optim.rl}", "refers to a key that is not there"),
        ("hydra.run.dir=x", "hydra.* goes with --multirun"),
        ("--optim.lr=3", "settings have no dashes: optim.lr=3"),
        ("--mulitrun", "did you mean '--multirun'?"),
        ("--config-dir=/nowhere", "no such folder"),
        ("--show", "train.show=: no value"),
        ("--show=-1", "train.show=-1: out of bounds   (command line, argument 2)"),
        ("print=all", "accepts: config"),
        ("explain=optim.rl", "did you mean 'optim.lr'?"),
        ("schedule=_base", "unknown option '_base'"),
        ("model.config.detph=3", "did you mean 'model.config.depth'?   conf/model/bert-small.yaml:"),
        ("model.config.drpout=0.2", "did you mean 'model.config.dropout'?   catalog/models/bert.py:"),
    ],
)
def test_a_mistake_in_the_form_is_explained(setting, said):
    message = refusal(setting)
    assert said in message and "argument 2" in message
    assert "Traceback" not in message and "hydra.cc" not in message and "ANTLR" not in message


def test_a_run_without_recipe_is_told_which_there_are():
    with pytest.raises(OptionError, match=r"no recipe is chosen(.|\n)*recipe=bert_glue"):
        load(["task=sst2"])


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (["+optim.lr=3e-5"], "optim.lr", 3e-5),
        (["++optim.lr=3e-5"], "optim.lr", 3e-5),
        (["optim.lr=1", "optim.lr=2"], "optim.lr", 2.0),
        (["optim.lr=${optim.decay}", "optim.decay=0.5"], "optim.lr", 0.5),
        (["data.path=a b,c(1)=[x].csv"], "data.path", "a b,c(1)=[x].csv"),
        (["data.path='a b'"], "data.path", "a b"),
        (["data.path=000123"], "data.path", "000123"),
        (["model.config.depth=4"], "model.config", SMALL | {"depth": 4}),
        (["model.config={depth: 4, act: relu}"], "model.config", SMALL | {"depth": 4, "act": "relu"}),
        (["~model.config.depth"], "model.config", {name: v for name, v in SMALL.items() if name != "depth"}),
        (["model=bert-base", "+model.config.dropout=0.2"], "model.config", {"dropout": 0.2}),
        (["model=bert-base", "model.name=roberta"], "model.name", "roberta"),
        (["+schedule=cosine"], "schedule.name", "cosine"),
        (["schedule=cosine"], "schedule.warmup", 0.06),
        (["schedule.name=constant"], "schedule.name", "constant"),
        (["train.clip=null"], "train.clip", None),
        (["train.epochs=3"], "train.epochs", 3.0),
        (["eval.every=50"], "eval.every", 50),
    ],
)  # fmt: skip
def test_hydras_forms_work(settings, name, value):
    assert value_of(load(["recipe=bert_glue", *settings]).config, name) == value


def test_what_is_not_said_is_what_conf_says():
    config = load(["recipe=bert_glue", "scale=full"]).config
    assert (config.recipe, config.task, config.scale) == ("bert_glue", "sst2", "full")
    assert (config.model.source, config.precision.dtype) == ("google-bert/bert-base-uncased", "bf16")
    assert config.schedule.warmup == 0.06


@pytest.mark.parametrize("scale", ["demo", "full"])
@pytest.mark.parametrize("recipe", Tree().options("recipe"))
def test_every_task_of_every_recipe_is_good_at_both_scales(recipe, scale):
    for task in Tree().recipe(recipe).head.tasks:
        assert load([f"recipe={recipe}", f"task={task}", f"scale={scale}"]).config.task == task


@pytest.mark.parametrize("group", [group for group in schema.GROUPS if group != "recipe"])
def test_every_option_of_every_group_can_be_chosen_over_recipe_and_scale(group):
    for option in Tree().options(group):
        loaded = load(["recipe=bert_glue", "scale=full", f"{group}={option}"])
        assert loaded.composed.options[group].text == option
        assert loaded.composed.options[group].where == "command line, argument 3"
        for name, key in schema.table().items():
            if key.section == group and key.meta.get("option"):
                assert loaded.composed.origins[name][-1].where.startswith(f"conf/{group}/{option}.yaml:")


@pytest.mark.parametrize("words", [["--show", "3"], ["--show=3"], ["train.show=3"]])
def test_how_many_examples_are_shown(words):
    assert load(["recipe=bert_glue", *words, "seed=7"]).config.train.show == 3
    assert load(["recipe=bert_glue"]).config.train.show == 1


def test_several_paths_and_their_weights():
    def paths(*words):
        data = load(["recipe=bert_glue", *words]).config.data
        return data.path, data.weights

    assert paths("data.path=000123") == ("000123", None) and paths("data.path=a (1)/*.csv") == ("a (1)/*.csv", None)
    assert paths("data.path=[a.csv,b/*.csv]", "data.weights=[0.7,3]") == (("a.csv", "b/*.csv"), (0.7, 3.0))
    for words in (["data.path=[a,b]", "data.weights=[1]"], ["data.path=a", "data.weights=[1]"], ["data.weights=[1,2]"]):
        with pytest.raises(OptionError, match=r"data\.weights=.* beside data\.path="):
            load(["recipe=bert_glue", *words])
