"""A checkpoint of a run becomes a folder in the published layout, with the memory of a shard."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import catalog
from catalog.saving import describe
from recipes.export import export, main
from trainer.checkpoint.__main__ import main as checkpoint
from trainer.checkpoint.store import Checkpoints
from trainer.strategies import state


def gpt2(**sizes):
    config = catalog.config("gpt2", **{"vocab": 64, "width": 32, "depth": 2, "heads": 2, "positions": 16} | sizes)
    return catalog.build("gpt2", config, head="causal-lm")


def saved(folder, model):
    """A run's folder with a checkpoint of ``model``."""
    optimizer = torch.optim.AdamW(model.parameters())
    path = Checkpoints(folder / "checkpoints").save(7, {}, state.flat(state.state(model, optimizer)))
    describe(model, folder / "model")
    (folder / "model" / "vocab.json").write_text("{}")
    return path


def test_what_comes_out_is_what_saving_the_model_gives(tmp_path, capsys):
    """Through the operations of the page too: GPT-2's published query, key and value are one matrix, turned."""
    model = gpt2()
    path = saved(tmp_path / "run", model)
    assert main([str(path), str(tmp_path / "one")]) == 0
    assert "gpt2 of" in capsys.readouterr().out
    export(tmp_path / "run", tmp_path / "two", shard_bytes=20_000)
    catalog.save(model, tmp_path / "direct")
    expected = load_file(tmp_path / "direct" / "model.safetensors")
    one = load_file(tmp_path / "one" / "model.safetensors")
    shards = [load_file(file) for file in (tmp_path / "two").glob("model-*.safetensors")]
    assert len(shards) > 2
    for found in (one, {name: tensor for shard in shards for name, tensor in shard.items()}):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    for folder in ("one", "two"):
        written = (tmp_path / folder / "config.json").read_text()
        assert written == (tmp_path / "direct" / "config.json").read_text()
        assert (tmp_path / folder / "vocab.json").read_text() == "{}"
    ids = torch.arange(9)[None]
    assert torch.equal(catalog.load(tmp_path / "two")(ids).logits, model.eval()(ids).logits)


def test_our_names_in_one_file(tmp_path, capsys):
    model = gpt2()
    saved(tmp_path / "run", model)
    assert checkpoint(["export", str(tmp_path / "run"), str(tmp_path / "plain.safetensors")]) == 0
    assert "36 tensors of" in capsys.readouterr().out
    found, expected = load_file(tmp_path / "plain.safetensors"), state.tensors(model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("command", [main, lambda given: checkpoint(["export", *given])])
def test_nothing_whole_is_said(tmp_path, capsys, command):
    path = saved(tmp_path / "run", gpt2())
    file = path / "rank_0.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert command([str(path), str(tmp_path / "out")]) == 3
    assert "step_7 is not a whole checkpoint: rank_0.safetensors has" in capsys.readouterr().err
    assert command([str(tmp_path / "run"), str(tmp_path / "out")]) == 3
    assert "no whole checkpoint (step_N) in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_not_the_model_that_was_described_is_refused(tmp_path, capsys):
    saved(tmp_path / "run", gpt2(depth=3))
    describe(gpt2(), tmp_path / "run" / "model")
    assert main([str(tmp_path / "run"), str(tmp_path / "out")]) == 3
    assert "16 tensors differ (backbone.layers.2.attn.k.bias, ...)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


PROGRAM = """
import json, sys
from pathlib import Path
from recipes.export import export
import catalog.registry, safetensors.torch, torch.distributed.checkpoint

def held():  # what is the process's own, without pages of files that are mapped
    fields = dict(line.split(":") for line in open("/proc/self/status").read().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024

catalog.registry.page("gpt2")
import trainer.checkpoint.saved as saved
peaks, whole = [held()], saved.Saved.whole
def spied(self, name):
    found = whole(self, name)
    peaks.append(held())
    return found
saved.Saved.whole = spied
export(Path(sys.argv[1]), Path(sys.argv[2]), shard_bytes=int(sys.argv[3]))
print(json.dumps([peaks[0], max(peaks)]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_no_more_than_a_shard_is_held(tmp_path, root):
    model = gpt2(width=512, depth=14, heads=8)
    size = sum(p.nbytes for p in model.parameters())
    assert size > 150 << 20
    saved(tmp_path / "run", model)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run"), str(tmp_path / "out"), str(8 << 20)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before, peak = json.loads(done.stdout)
    assert peak - before < size / 4, f"{(peak - before) / 2**20:.0f} of {size / 2**20:.0f} MiB"
