"""What a user can get wrong with language models: one message, the right exit code, no traceback, no model saved."""

import json

import pytest

from catalog.processors import text
from launchers.cli import main

TINY = ["model.config.width=16", "model.config.heads=2", "model.config.depth=1", "batch.max_length=16"]
LINE = "Once there was a house by the sea, and nobody lived there but the wind. "


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path, capsys):
    """Run train.py's main and return (exit code, what stands in stderr, the run's folder)."""

    def call(recipe, *arguments):
        given = [f"recipe={recipe}", f"run_dir={tmp_path / 'run'}", "train.steps=2", *TINY, *arguments]
        return main(given), capsys.readouterr().err, tmp_path / "run"

    return call


@pytest.fixture
def refused(run):
    """The message of a run that must end with this exit code."""

    def call(code, recipe, *arguments):
        found, said, folder = run(recipe, *arguments)
        assert found == code, said
        assert said.startswith("error: ") and "Traceback" not in said and not (folder / "model").exists()
        return said

    return call


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data.path={path}"


def stories(path, count=40):
    return jsonl(path, [{"text": LINE * 3}] * count)


@pytest.mark.parametrize("recipe", ["gpt2_clm", "bert_mlm"])
def test_a_file_without_text(tmp_path, refused, recipe):
    said = refused(3, recipe, jsonl(tmp_path / "train.jsonl", [{"body": LINE}] * 40))
    assert "train.jsonl: no column 'text'" in said and "Columns there: 'body'" in said and "data.columns" in said


@pytest.mark.parametrize("recipe", ["gpt2_clm", "bert_pretrain"])
def test_text_that_is_none(tmp_path, refused, recipe):
    said = refused(3, recipe, jsonl(tmp_path / "train.jsonl", [{"text": i} for i in range(40)]))
    assert "train.jsonl row 1: column 'text' holds 0, which is not text" in said


def test_blank_text_alone(tmp_path, refused):
    said = refused(3, "bert_mlm", jsonl(tmp_path / "train.jsonl", [{"text": " "}] * 40))
    assert "train.jsonl" in said


def test_an_answer_that_is_empty_or_too_long(tmp_path, refused):
    rows = [{"instruction": LINE, "response": "yes"}] * 40
    room = "batch.max_length=128"
    said = refused(3, "llama_sft", room, jsonl(tmp_path / "a.jsonl", [*rows, {"instruction": LINE, "response": ""}]))
    assert "a.jsonl row 41: column 'response' holds '', which is no text" in said
    said = refused(
        3, "llama_sft", room, jsonl(tmp_path / "b.jsonl", [*rows, {"instruction": LINE, "response": LINE * 20}])
    )
    assert "b.jsonl row 41: an answer of" in said and "raise batch.max_length" in said


def test_a_tokenizer_that_cannot_hide_text(tmp_path, refused):
    text.train_bytes([LINE] * 5, 300).save(tmp_path / "tokenizer")
    said = refused(3, "bert_mlm", f"model.tokenizer={tmp_path / 'tokenizer'}", stories(tmp_path / "train.jsonl"))
    assert "the tokenizer has no mask token to hide text with" in said


def test_options_that_cannot_be(refused):
    assert "options.mask" in refused(2, "bert_mlm", "options.mask=1.5")
    assert "options.document" in refused(2, "gpt2_clm", "options.document=page")
    assert "batch=padded: documents are packed into blocks; write batch=unpadded" in refused(
        2, "gpt2_clm", "batch=padded"
    )
    assert "the task measures perplexity, bits_per_byte, loss" in refused(2, "llama_clm", "eval.metric=accuracy")
    assert "the task measures perplexity, next_sentence_accuracy, loss" in refused(2, "bert_pretrain", "eval.metric=f1")
    assert "the task measures exact_match, f1, loss" in refused(2, "llama_sft", "eval.metric=rouge")


def test_a_file_alone_is_learnt_from_whatever_its_name(tmp_path, run):
    code, said, folder = run("gpt2_clm", stories(tmp_path / "dev.jsonl"))
    assert code == 0, said
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    measured = next(event for event in events if event["event"] == "eval")
    assert measured["set"] == "dev" and (folder / "model").is_dir(), "a tenth of it was held out"


def test_a_folder_without_a_split_to_learn_from(tmp_path, refused):
    (tmp_path / "data").mkdir()
    stories(tmp_path / "data" / "dev.jsonl")
    said = refused(3, "gpt2_clm", f"data.path={tmp_path / 'data'}")
    assert "no split 'train' there. It has validation: dev.jsonl" in said
