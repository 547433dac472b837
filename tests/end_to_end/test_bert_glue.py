"""The recipe through train.py's main, shortened: it learns, saves, reloads to the same predictions, and resumes bit for bit."""

import json
import shutil

import pytest
import torch

import catalog
from catalog.__main__ import main as catalog_main
from catalog.processors import text
from launchers.cli import main
from recipes.examples import SAMPLES


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def events(folder, kind):
    every = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [event for event in every if event["event"] == kind]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a demo run of a third of its length."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    assert main(["recipe=bert_glue", f"run_dir={folder}", "train.epochs=7", "checkpoint.every=null"]) == 0
    return folder


def sentences():
    rows = (SAMPLES / "sentiment" / "dev.tsv").read_text().splitlines()[1:]
    return [(sentence, int(label)) for sentence, label in (row.split("\t") for row in rows)]


def use(folder, *words):
    """What the run said: ``python -m catalog run`` on the model it saved."""
    return catalog_main(["run", "text-classification", "--model", str(folder / "model"), *words])


def test_demo_learns(demo):
    best = events(demo, "done")[-1]["best"]
    assert best == max(event["accuracy"] for event in events(demo, "eval"))
    assert best >= 0.75  # 0.84 where this was written; a coin gives 0.5


def test_the_saved_model_is_the_best_one_and_reads_back_to_its_predictions(demo, tmp_path, capsys):
    model, tokenizer = catalog.load(demo / "model"), text.load(demo / "model")
    assert model.config.labels == ("negative", "positive")
    rows = sentences()
    inputs = tokenizer([sentence for sentence, _ in rows], max_length=64, padding="longest")
    with torch.inference_mode():
        answers = model(**{name: torch.tensor(value) for name, value in inputs.items()}).logits.argmax(-1)
    right = (answers == torch.tensor([label for _, label in rows])).double().mean()
    assert float(right) == pytest.approx(events(demo, "done")[-1]["best"], abs=1e-6)

    (tmp_path / "dev.txt").write_text("".join(f"{sentence}\n" for sentence, _ in rows))
    assert use(demo, "--file", str(tmp_path / "dev.txt")) == 0
    said = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in said] == [model.config.labels[i] for i in answers]
    assert [line[2] for line in said] == [sentence for sentence, _ in rows]


def test_the_saved_model_is_a_source_to_start_from(demo, tmp_path):
    folder = tmp_path / "run"
    given = [
        "recipe=bert_glue",
        f"run_dir={folder}",
        f"model.source={demo / 'model'}",
        "optim.lr=1e-12",
        "train.steps=1",
    ]
    assert main(given) == 0
    assert events(folder, "eval")[0]["accuracy"] == events(demo, "done")[-1]["best"]


def test_resume_is_bit_equal(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    given = ["train.steps=30", "checkpoint.every=10", "checkpoint.keep=5", "eval.every=1000"]
    assert main(["recipe=bert_glue", f"run_dir={whole}", *given]) == 0
    shutil.copytree(whole, cut, symlinks=True)
    shutil.rmtree(cut / "model")
    for name in ("step_20", "step_30"):
        shutil.rmtree(cut / "checkpoints" / name)
    for link in ("latest", "best"):
        (cut / "checkpoints" / link).unlink(missing_ok=True)
    assert main([f"resume={cut}"]) == 0
    for file in ("model.safetensors", "config.json", "vocab.txt"):
        assert (cut / "model" / file).read_bytes() == (whole / "model" / file).read_bytes()
    assert events(cut, "done")[-1]["metrics"] == events(whole, "done")[-1]["metrics"]


def test_mnli_is_measured_on_both_sets(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["recipe=bert_glue", "task=mnli", f"run_dir={folder}", "train.steps=2"]) == 0
    assert [(event["set"], event["rows"]) for event in events(folder, "eval")] == [
        ("matched", 200),
        ("mismatched", 200),
    ]
    metrics = events(folder, "done")[-1]["metrics"]
    assert {"accuracy", "loss", "mismatched.accuracy", "mismatched.loss"} == set(metrics)
    assert '--pair "a second text"' in capsys.readouterr().out
    assert use(folder, "It rains.", "--pair", "It is wet.") == 0
    label, share, *texts = capsys.readouterr().out.strip().split("\t")
    assert label in ("entailment", "neutral", "contradiction") and 1 / 3 <= float(share) <= 1
    assert texts == ["It rains.", "It is wet."]


def test_stsb_is_a_regression(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["recipe=bert_glue", "task=stsb", f"run_dir={folder}", "train.steps=2"]) == 0
    assert {"spearman", "pearson", "loss"} <= set(events(folder, "eval")[0])
    published = json.loads((folder / "model" / "config.json").read_text())
    assert published["problem_type"] == "regression" and published["id2label"] == {"0": "score"}
    capsys.readouterr()
    assert use(folder, "A dog runs.", "--pair", "A dog ran.") == 0
    name, number, *_ = capsys.readouterr().out.split("\t")
    assert name == "score" and float(number)


def test_what_is_no_model_is_refused(tmp_path, capsys):
    assert use(tmp_path, "a text") == 3
    assert "model: no such folder" in capsys.readouterr().err
