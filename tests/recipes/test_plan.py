"""The plan of a recipe: its model with the vocabulary that was asked for, its rows as often as a batch wants them."""

import json

from launchers.config.load import load
from recipes.plan import plan

ASKED = ["batch.tokens=512", "batch.max_length=64", "model.config.vocab=2000", "plan=true"]


def test_a_plan_of_a_recipe_says_bytes_and_fills_its_batch(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan(load(["recipe=llama_clm", "strategy=fsdp", "cluster.gpus=8", *ASKED]).config, as_json=True)
    found = json.loads(capsys.readouterr().out)
    width, hidden, depth, vocab = 96, 256, 2, 2000
    block = width * width * 3 + 3 * width * hidden + 2 * width  # q, out, and half as many keys and values
    parameters = 2 * vocab * width + depth * block + width
    assert found["parameters"] == parameters and found["mesh"] == {"shard": 8}
    assert found["bytes"]["weights"] == found["bytes"]["gradients"] == {"float32": 4 * parameters // 8}
    assert found["bytes"]["optimizer"] == {"float32": 8 * parameters // 8}
    assert found["batch"]["examples"] == 1 and found["batch"]["slots"] == 64 and found["batch"]["shares"] == 8
    products = 2 * 64 * (parameters - vocab * width - width * (2 * depth + 1))  # the table is looked up
    assert products < found["flops"]["forward float32"] < 1.2 * products  # and attention
    assert found["fits"] and found["change"] is None
