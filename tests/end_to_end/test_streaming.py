"""Training on parquet files that are read as they are needed: through train.py, cut mid-epoch and resumed bit for bit."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launchers.cli import main
from recipes import bert_glue, gpt2_clm

WORDS = [["warm", "funny", "tender", "bright"], ["dull", "flat", "tired", "cold"]]
ROWS = 70
SMALL = [
    "model.config.width=16",
    "model.config.heads=2",
    "model.config.hidden=32",
    "model.config.depth=1",
    "model.config.vocab=400",
]
STREAM = [
    "data.stream=true",
    "batch.tokens=null",
    "batch.size=4",
    "train.steps=26",
    "train.log_every=1",
    "checkpoint.every=5",
]
KEPT = ["checkpoint.keep=9", "eval.every=1000"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path):
    """Two files of row groups of ten to learn from, one to measure on; columns by other names, and one too many."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [
        (f"film {i}: {' '.join(WORDS[i % 2][: 1 + i % 4])}", "negative" if i % 2 else "positive") for i in range(ROWS)
    ]
    for name, low, high in (("train-0", 0, 33), ("train-1", 33, 60), ("dev", 60, ROWS)):
        texts, labels = zip(*rows[low:high])
        table = pa.table({"content": texts, "verdict": labels, "number": list(range(low, high))})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=10)
    return folder


def events(folder, kind):
    every = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [event for event in every if event["event"] == kind]


@pytest.mark.parametrize(
    "recipe",
    [["recipe=bert_glue", "data.columns=[content]", "data.label=verdict"], ["recipe=gpt2_clm", "batch.max_length=12"]],
    ids=["bert_glue", "gpt2_clm"],
)
def test_cut_mid_epoch_and_resumed_the_end_is_the_same(recipe, data, tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*recipe, f"data.path={data}", f"run_dir={whole}", "--show", "2", *STREAM, *KEPT, *SMALL]) == 0
    said = capsys.readouterr().out
    assert "60 train / 10 dev" in said and "read as needed" in said and said.count("\nrow ") == 2
    assert "one batch: " in said and "largest batch" not in said
    steps = [event["step"] for event in events(whole, "step")]
    assert steps == list(range(1, 27)), "15 steps are an epoch of 60 rows"
    shutil.copytree(whole, cut, symlinks=True)
    shutil.rmtree(cut / "model")
    for name in ("step_25", "step_26"):
        shutil.rmtree(cut / "checkpoints" / name)
    for link in ("latest", "best"):
        (cut / "checkpoints" / link).unlink(missing_ok=True)
    assert main([f"resume={cut}"]) == 0
    assert events(cut, "start")[-1]["resumed_from"]
    file = "model/model.safetensors"
    assert (cut / file).read_bytes() == (whole / file).read_bytes()
    again = [event["loss"] for event in events(cut, "step") if event["step"] > 20][-6:]
    assert again == [event["loss"] for event in events(whole, "step")][-6:]


def read(prepare, *given):
    """The training batches of two epochs, without training."""
    from launchers.config.load import load

    made = prepare(load([*given]).config, lambda line: None)
    return made, [[batch for step in made.train.epoch(epoch) for batch in step] for epoch in range(2)]


def test_each_row_once_an_epoch_as_prepared_beforehand(data):
    given = ["recipe=bert_glue", f"data.path={data}", "data.columns=[content]", "data.label=verdict", *SMALL]
    vocabulary = data.parent / "vocabulary"
    prepared, _ = read(bert_glue.prepare, *given)
    prepared.processor.save(vocabulary)
    _, epochs = read(bert_glue.prepare, *given, *STREAM, f"model.tokenizer={vocabulary}")
    expected = {i: prepared.train.dataset[i] for i in range(60)}
    for batches in epochs:
        seen = [row for batch in batches for row in batch["rows"].tolist()]
        assert sorted(seen) == list(range(60)) and seen != sorted(seen)
        for batch in batches:
            pieces = batch["input_ids"][0].split(batch["lengths"].tolist())
            for row, ids, label in zip(batch["rows"].tolist(), pieces, batch["labels"].tolist()):
                assert ids.tolist() == expected[row]["input_ids"].tolist() and label == expected[row]["labels"]
    assert [len(batch["rows"]) for batch in epochs[0]] == [4] * 15


def test_a_long_document_is_read_in_other_parts_each_epoch_and_an_empty_one_is_its_end(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    texts = ["one two three", "", " ".join(f"word{i}" for i in range(60)), "four five"]
    for name in ("train", "dev"):
        pq.write_table(pa.table({"text": texts}), folder / f"{name}.parquet")
    made, epochs = read(
        gpt2_clm.prepare, "recipe=gpt2_clm", f"data.path={folder}", "batch.max_length=12", *STREAM, *SMALL
    )
    whole = [made.train.dataset[row]["input_ids"] for row in range(4)]
    assert whole[1] == [made.processor.eos_id] and len(whole[2]) > 60
    starts = []
    for (batch,) in epochs:
        found = dict(zip(batch["rows"].tolist(), batch["input_ids"][0].split(batch["lengths"].tolist())))
        assert all(found[row].tolist() == whole[row][:12] for row in (0, 1, 3))
        part = found[2].tolist()
        starts += [at for at in range(len(whole[2])) if whole[2][at : at + 12] == part]
        assert batch["sizes"].tolist() == batch["lengths"].tolist() and len(part) == 12
    assert len(set(starts)) == 2, "one place in each epoch"


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (["recipe=bert_glue", "data.stream=true"], 2, "data.stream=true reads files and data.path=null"),
        (["recipe=bert_glue", "data.stream=true", "data.path={data}"], 2, "data.stream=true beside batch.tokens=1024"),
        (["recipe=bert_glue", "data.path={data}", "batch=bucketed", *STREAM], 2, "add batch.size=32 batch.tokens=null"),
        (["recipe=bert_mlm", "data.path={data}", *STREAM], 2, "this recipe makes its examples of all rows beforehand"),
        (["recipe=gpt2_clm", "data.path={data}", "options.document=file", *STREAM], 2, "options.document is row, not file"),
        (["recipe=bert_glue", "data.path={data}", *STREAM], 3, "dev.parquet: no column 'sentence'"),
        (["recipe=gpt2_clm", "data.path={data}/train-0.parquet", *STREAM], 3, "of a stream none is held out"),
    ],
)  # fmt: skip
def test_what_cannot_be_streamed_is_said(given, code, message, data, tmp_path, capsys):
    assert main([*(word.format(data=data) for word in given), f"run_dir={tmp_path / 'run'}"]) == code
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
