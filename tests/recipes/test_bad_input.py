"""What a user can get wrong with data and checkpoints: one message, the right exit code, no traceback, no model saved."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import catalog
from catalog.processors import text
from launchers.cli import main

SMALL = ["model.config.width=16", "model.config.heads=2", "model.config.hidden=32", "model.config.depth=1"]
HEADER = "sentence\tlabel"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [f"a {'fine' if i % 2 else 'poor'} film number {i}\t{i % 2}" for i in range(20)]
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


@pytest.fixture
def refused(tmp_path, capsys):
    """Run train.py's main with these arguments and return its message; the exit code must be the one named."""

    def run(code, *arguments):
        given = ["recipe=bert_glue", f"run_dir={tmp_path / 'run'}", "train.steps=2", *arguments]
        assert main(given) == code
        said = capsys.readouterr().err
        assert said.startswith("error: ") and "Traceback" not in said
        assert not list((tmp_path / "run").glob("model/*.safetensors"))
        return said

    return run


def test_missing_column(data, refused):
    (data / "train.tsv").write_text("text\tlabel\nfine\t1\n")
    said = refused(3, f"data.path={data}")
    assert "train.tsv: no column 'sentence'" in said and "data.columns" in said


def test_unknown_label(data, refused):
    with open(data / "train.tsv", "a") as file:
        file.write("a film\tgood\n")
    assert "train.tsv row 21: unknown label 'good'; this task has negative (0), positive (1)" in refused(
        3, f"data.path={data}"
    )


def test_label_outside_the_range(data, refused):
    (data / "dev.tsv").write_text(f"{HEADER}\nfine\t1\nodd\t7\n")
    assert "dev.tsv row 2: label 7 is outside 0 to 1" in refused(3, f"data.path={data}")


def test_label_that_is_no_number(tmp_path, refused):
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,label\n" + "a,b,1.0\n" * 20 + "a,b,high\n")
    assert "pairs.csv row 21: label 'high' is not a number" in refused(3, f"data.path={path}", "task=stsb")


@pytest.mark.parametrize(("content", "message"), [("", "the file is empty"), (HEADER + "\n", "the file has no rows")])
def test_empty_file(data, refused, content, message):
    (data / "train.tsv").write_text(content)
    assert f"train.tsv: {message}" in refused(3, f"data.path={data}")


def test_text_that_is_not_utf8(data, refused):
    with open(data / "train.tsv", "ab") as file:
        file.write("ein schöner Film\t1\n".encode("latin1"))
    assert "train.tsv:22: not UTF-8: byte 0xf6" in refused(3, f"data.path={data}")


def test_row_with_a_field_too_many(data, refused):
    with open(data / "train.tsv", "a") as file:
        file.write("a film\t1\textra\n")
    assert "train.tsv:22: 3 fields where the header has 2" in refused(3, f"data.path={data}")


def test_no_such_folder(tmp_path, refused):
    assert "nowhere: no such file or folder" in refused(3, f"data.path={tmp_path / 'nowhere'}")


def test_token_id_beyond_the_vocabulary(data, tmp_path, refused):
    text.train_wordpiece((data / "train.tsv").read_text().split("\n"), 200).save(tmp_path / "tokenizer")
    said = refused(3, f"data.path={data}", f"model.tokenizer={tmp_path / 'tokenizer'}", "model.config.vocab=12", *SMALL)
    assert "outside the model's vocabulary of 12" in said and "train.tsv row" in said


def test_metric_that_the_task_does_not_have(refused):
    assert "eval.metric=matthews: task sst2 measures accuracy, loss" in refused(2, "eval.metric=matthews")


def test_hub_out_of_reach(refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = refused(3, "scale=full", "precision=fp32")
    assert "cannot be reached" in said and "data.path=" in said and "scale=demo" in said


@pytest.fixture
def checkpoint(data, tmp_path):
    """A checkpoint of a tiny classifier with its tokenizer."""
    tokenizer = text.train_wordpiece((data / "train.tsv").read_text().split("\n"), 200)
    config = catalog.config(
        "bert", vocab=len(tokenizer), width=16, depth=1, heads=2, hidden=32, positions=64,
        labels=("negative", "positive"), problem="single_label_classification",
    )  # fmt: skip
    built = catalog.build("bert", config, head="sequence-classification", seed=0)
    return catalog.save(built, tmp_path / "checkpoint", processor=tokenizer)


def rewrite(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_missing_extra_and_misshapen_tensors_are_all_named(data, checkpoint, refused):
    def change(tensors):
        del tensors["bert.encoder.layer.0.output.dense.bias"]
        tensors["bert.encoder.layer.0.extra.weight"] = torch.zeros(2)
        tensors["classifier.weight"] = torch.zeros(3, 16)

    rewrite(checkpoint, change)
    said = refused(3, f"data.path={data}", f"model.source={checkpoint}")
    assert "bert.encoder.layer.0.output.dense.bias" in said
    assert "bert.encoder.layer.0.extra.weight" in said
    assert "classifier.weight" in said and "[3, 16]" in said
    assert "Nothing was loaded" in said


def test_truncated_weights(data, checkpoint, refused):
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors" in refused(3, f"data.path={data}", f"model.source={checkpoint}")


@pytest.mark.parametrize("names", [("bad", "good"), ("positive", "negative"), ("negative", "neutral", "positive")])
def test_classes_of_the_checkpoint_are_not_those_of_the_data(data, checkpoint, refused, names):
    config = json.loads((checkpoint / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(names)}
    config["label2id"] = {name: i for i, name in enumerate(names)}
    (checkpoint / "config.json").write_text(json.dumps(config))
    rewrite(checkpoint, lambda tensors: tensors.update({
        "classifier.weight": torch.zeros(len(names), 16), "classifier.bias": torch.zeros(len(names))
    }))  # fmt: skip
    said = refused(3, f"data.path={data}", f"model.source={checkpoint}")
    assert f"its classes (id2label) are {', '.join(names)}; those of the data are negative, positive" in said


def test_too_few_rows_to_hold_some_out(tmp_path, refused):
    path = tmp_path / "few.csv"
    path.write_text("sentence,label\nfine,1\npoor,0\n")
    assert "2 rows and no dev split" in refused(3, f"data.path={path}")
