"""The hub: fetched once, then from the cache; every way it can fail is one message, and soon."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import catalog
from catalog.checkpoints import hub as client
from catalog.errors import LoadError
from tests.support import golden
from tests.support.hub import serve

CASE = golden.Golden(golden.FOLDER / "bert" / "BertForSequenceClassification.json")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    folder = CASE.write(tmp_path_factory.mktemp("hub") / "model")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {
        "vocab.txt": b"[PAD]\n",
        "modeling_own.py": b"raise SystemExit('ran')",
        "pytorch_model.bin": b"\x80never read",
        "onnx/model.onnx": b"never read",
        "onnx/config.json": b"{}",
    }
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    catalog.save(catalog.load(folder), folder.with_name("shards"), shard_bytes=20_000)
    older = {name: body for name, body in files.items() if name != "model.safetensors"}
    older["pytorch_model.bin"] = (folder / "pytorch_model.bin").read_bytes()
    return {
        "team/tiny": {"main": files, "old": older},
        "tiny-shards": {"main": {p.name: p.read_bytes() for p in folder.with_name("shards").iterdir()}},
        "empty": {"main": {"README.md": b"nothing"}},
    }


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    """The hub under HF_ENDPOINT, and a cache of this test's own."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve(repositories) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_fetched_is_what_loading_reads(hub, tmp_path):
    model = catalog.load("team/tiny")
    assert same(weights(model), weights(catalog.load(CASE.write(tmp_path / "local"))))
    got = {line.rpartition("/")[2] for line in hub.asked if line.startswith("GET") and "resolve" in line}
    assert got == {
        "config.json",
        "model.safetensors",
        "vocab.txt",
    }  # no code, no other form of the weights, no subfolder


def test_the_second_load_works_with_the_hub_away(hub, monkeypatch):
    first = weights(catalog.load("team/tiny"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert same(weights(catalog.load("team/tiny")), first)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.status = 503
    assert same(weights(catalog.load("team/tiny")), first)
    hub.status, count = 200, len(hub.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert same(weights(catalog.load("team/tiny")), first) and len(hub.asked) == count
    with pytest.raises(LoadError, match=r"HF_HUB_OFFLINE forbids.*cache has no copy"):
        catalog.load("tiny-shards")


def test_a_revision_is_a_branch_or_a_commit(hub):
    old = client.fetch("team/tiny", "old")
    assert (old / "pytorch_model.bin").exists() and not (old / "model.safetensors").exists()
    assert same(weights(catalog.load("team/tiny", revision="old")), weights(catalog.load("team/tiny")))
    assert client.fetch("team/tiny", hub.commit("team/tiny", "old")[1]) == old
    with pytest.raises(LoadError, match="no such branch, tag or commit"):
        catalog.load("team/tiny", revision="never")


def test_shards_are_fetched_with_their_index(hub, tmp_path):
    assert same(weights(catalog.load("tiny-shards")), weights(catalog.load(CASE.write(tmp_path / "local"))))
    index = json.loads((client.fetch("tiny-shards") / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2


def test_what_is_not_there_is_said(hub):
    with pytest.raises(LoadError, match=r"'team/tinny' is neither a folder here nor a repository of http://127"):
        catalog.load("team/tinny")
    with pytest.raises(LoadError, match="did you mean 'bert-base-uncased'"):
        catalog.load("bert-base-uncasd")
    with pytest.raises(LoadError, match=r"no config\.json"):
        catalog.load("empty")
    with pytest.raises(LoadError, match="nor the name of a repository"):
        catalog.load("a name with spaces")


@pytest.mark.parametrize("state", ["gone", "broken", "frozen"])
def test_a_hub_that_does_not_serve_fails_at_once(hub, monkeypatch, state):
    monkeypatch.setattr(client, "TIMEOUT", 0.5)
    if state == "gone":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    elif state == "broken":
        hub.status = 500
    else:
        hub.frozen.set()
    with pytest.raises(LoadError, match=r"its cache has no copy. Two ways on"):
        catalog.load("team/tiny")
    assert len(hub.asked) <= 1  # one question of at most TIMEOUT, no client that tries again and again


def test_the_endpoint_holds_though_the_client_was_imported_before(hub, tmp_path):
    code = (
        "import huggingface_hub.constants, os, sys\n"
        "os.environ['HF_ENDPOINT'] = sys.argv[1]\n"
        "from catalog.checkpoints.hub import fetch\n"
        "print(fetch('team/tiny'))"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("HF_ENDPOINT", "HF_HUB_OFFLINE")}
    run = subprocess.run(
        [sys.executable, "-c", code, hub.url], capture_output=True, text=True, env={**env, "HF_HOME": str(tmp_path)}
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().startswith(str(tmp_path)) and hub.commit("team/tiny", "main")[1] in run.stdout
