"""Adapters through train.py: over a checkpoint in four bits, resumed bit for bit, and merged to the same answers."""

import json

import pytest
import torch
from safetensors.torch import load_file

import catalog
from catalog import adapters
from catalog.processors.text import train_wordpiece
from launchers.cli import main
from launchers.config.load import load
from recipes import adapters as recipe
from trainer.checkpoint.store import Checkpoints
from trainer.errors import OptionError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint of a masked language model, without a pooler, with its tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_wordpiece(["a warm and funny film", "a waste of an evening", "we gave it away"], 80)
    config = catalog.config("bert", vocab=len(tokenizer), width=64, depth=2, heads=2, hidden=64, positions=64)
    catalog.save(catalog.build("bert", config, head="masked-lm", seed=1), folder, processor=tokenizer)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def fine_tuned(folder, base, *more):
    given = ["recipe=bert_glue", "adapter=lora", "adapter.rank=2", "adapter.base=nf4", "adapter.dropout=0.1"]
    given += [f"model.source={base}", "checkpoint.every=4", "eval.every=1000", "optim.lr=1e-2"]
    assert main([*given, f"run_dir={folder}", *more]) == 0


def test_a_run_writes_adapters_and_the_merged_model(base, tmp_path):
    run = tmp_path / "run"
    fine_tuned(run, base, "train.steps=8")
    settings = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base) and settings["target_modules"] == ["query", "value"]
    assert settings["modules_to_save"] == ["bert.pooler.dense", "classifier"], "the checkpoint has no pooler: it is new"
    merged = catalog.load(run / "model")
    ids = torch.arange(5, 25).view(2, 10)
    bare = catalog.load(base, "sequence-classification", new=["out.*", "backbone.pool.*"])
    over = adapters.load(bare, run / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(
            over(ids).logits, merged(ids).logits, rtol=0.2, atol=0.02
        )  # this base is not in four bits
    (formats,) = [e for e in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if e["event"] == "formats"]
    trained = sum(t.nbytes for t in load_file(run / "adapter" / "adapter_model.safetensors").values())
    assert sum(formats["weights"].values()) == trained and sum(formats["optimizer"].values()) == 2 * trained
    assert formats["frozen"]["uint8"] == 2 * (4 * 64 * 64 + 2 * 64 * 64) // 2


def test_a_resumed_run_ends_in_the_same_adapters(base, tmp_path):
    more = ["schedule=constant", "schedule.warmup=1", "eval.every=4"]
    fine_tuned(tmp_path / "one", base, "train.steps=8", *more)
    fine_tuned(tmp_path / "cut", base, "train.steps=4", *more)
    assert main([f"resume={tmp_path / 'cut'}", "train.steps=8"]) == 0
    one, cut = (Checkpoints(tmp_path / run / "checkpoints", 2) for run in ("one", "cut"))
    one, cut = (dict(saves.load(saves.latest).weights()) for saves in (one, cut))
    assert one.keys() == cut.keys() and all(torch.equal(one[key], cut[key]) for key in one)
    assert any(tensor.abs().max() > 0 for key, tensor in one.items() if "lora_b" in key)
    first = load_file(tmp_path / "one" / "adapter" / "adapter_model.safetensors")
    second = load_file(tmp_path / "cut" / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_strategy_that_divides_the_model_is_refused():
    options = load(["recipe=bert_glue", "adapter=lora"]).config.adapter
    with pytest.raises(
        OptionError, match=r"adapter=lora under strategy=fsdp(?s:.*)take strategy=single or strategy=ddp"
    ):
        recipe.add(None, options, "fsdp", 0)
