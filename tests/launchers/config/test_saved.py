"""A run is continued with the configuration it was started with."""

import pytest

from launchers import local
from launchers.config import render
from launchers.config.errors import OptionError
from launchers.config.load import load

ARGV = ["recipe=bert_glue", "task=qnli", "optim.lr=3e-5", "schedule.warmup=7", "model.config.depth=3", "data.path=a b"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The id of a run whose folder is below ``runs/`` of the working folder."""
    monkeypatch.chdir(tmp_path)
    loaded = load(ARGV)
    folder = local.run_folder(loaded.config, render.document(loaded))
    local.begin(folder, render.document(loaded))
    return folder.name


def test_the_id_alone_brings_every_value_back(run):
    before, after = load(ARGV).config, load([f"resume={run}"]).config
    folder = f"runs/bert_glue/qnli/{run}"
    expected = render.flat(before) | {"run_dir": folder, "resume": folder}
    assert render.flat(after) == expected


def test_the_folder_does_as_well(run):
    assert load([f"resume=runs/bert_glue/qnli/{run}"]).config.task == "qnli"


def test_a_key_of_the_command_line_goes_over_the_saved_one(run):
    loaded = load([f"resume={run}", "train.epochs=9", "optim.lr=1", f"explain={'optim.lr'}"])
    assert (loaded.config.train.epochs, loaded.config.optim.lr) == (9.0, 1.0)
    text = render.explain(loaded, "optim.lr")
    assert "command line, argument 3" in text and f"runs/bert_glue/qnli/{run}/config.yaml:" in text


def test_a_run_goes_on_under_another_strategy(run):
    loaded = load([f"resume={run}", "strategy=ddp"])
    assert loaded.config.strategy.name == "ddp"
    assert "conf/strategy/ddp.yaml:4" in render.explain(loaded, "strategy.name")
    again = load([f"resume={run}", "strategy=hsdp", "strategy.replicas=4"])
    assert again.config.strategy.replicas == 4 and "_base.yaml" in render.explain(again, "strategy.replicas")
    with pytest.raises(OptionError, match=r"did you mean .strategy=ddp"):
        load([f"resume={run}", "strategy=dpd"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["resume=abcdeg"], "resume=abcdeg: no such run"),
        (["resume=."], "no config.yaml in this folder"),
        (["resume={id}", "precision=bf16"], "a resumed run keeps its options   (command line, argument 2)"),
        (["resume={id}", "recipe=other"], "its recipe is bert_glue"),
        (["resume={id}", "optim.rl=3"], "did you mean 'optim.lr'?   runs/bert_glue/qnli/{id}/config.yaml:"),
        (["resume={id}", "task=snli"], "task=snli: not one of its values"),
    ],
)
def test_what_cannot_be_continued_is_refused(run, argv, said):
    with pytest.raises(OptionError) as caught:
        load([text.replace("{id}", run) for text in argv])
    assert said.replace("{id}", run) in str(caught.value)


def test_the_recipe_may_be_repeated(run):
    assert load(["recipe=bert_glue", f"resume={run}"]).config.resume


def test_a_saved_configuration_of_another_version_is_refused_with_its_line(run, tmp_path):
    file = tmp_path / "runs/bert_glue/qnli" / run / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("  lr:", "  rate:"))
    with pytest.raises(OptionError, match=r"unknown key 'optim.rate'   \(runs/.*/config.yaml:\d+\)"):
        load([f"resume={run}"])
    file.write_text("\n".join(line for line in text.splitlines() if "  lr:" not in line))
    with pytest.raises(OptionError, match=r"no optim.lr   \(runs/.*/config.yaml\)"):
        load([f"resume={run}"])


def test_a_near_id_is_suggested(run):
    with pytest.raises(OptionError, match=f"did you mean '{run}'"):
        load([f"resume={run[:-1]}"])
