"""What a run over several processes, or in another format, is refused for: before anything is loaded, with what would go."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from launchers.cli import main
from launchers.config.load import load
from recipes.run import run
from trainer.errors import OptionError

SMALL = ["model.config.width=24", "model.config.hidden=32", "model.config.depth=2"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Where data and vocabularies would be kept, if any were read."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def started(*argv):
    """A run as each of torchrun's processes begins it, once the processes know one another."""
    return run(replace(load(argv).config, run_dir="here"))


@pytest.mark.parametrize(
    ("world", "argv", "nearest"),
    [
        (6, ["strategy=fsdp_tp", "strategy.tp=4"], "legal: tp=1,2,3,6\n   or start 4 or 8 processes"),
        (4, ["strategy=tp", "strategy.tp=2"], "legal: tp=4\n   or strategy=fsdp_tp"),
        (5, ["strategy=hsdp"], "start 4 or 6 of them, or choose strategy=fsdp"),
        (8, ["strategy=cp", "strategy.cp=3"], "legal: cp=1,2,4,8\n   or start 6 or 9 processes"),
        (2, [], "add strategy=ddp, or start it without torchrun"),
    ],
)
def test_numbers_of_processes_that_do_not_fit(world, argv, nearest, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", str(world))
    assert main(["recipe=gpt2_clm", *argv]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and nearest in said and "nothing was loaded" in said
    assert list(tmp_path.iterdir()) == [], "neither a folder of the run nor data"


@pytest.mark.parametrize(
    ("argv", "nearest"),
    [
        (
            ["recipe=gpt2_clm", "strategy=tp", "model.config.heads=6"],
            "legal: tp=1,2,3,6\n   the nearest is strategy.tp=3",
        ),
        (
            ["recipe=llama_clm", "strategy=tp", "model.config.heads=8", "model.config.kv_heads=2"],
            "key/value heads: 2; legal: tp=1,2\n   the nearest is strategy.tp=2",
        ),
        (
            ["recipe=bert_glue", "strategy=cp", "model.config.heads=6"],
            "legal: cp=1,2,3,6\n   the nearest is strategy.cp=3",
        ),
    ],
)
def test_heads_that_processes_do_not_divide(argv, nearest, monkeypatch, cache):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(OptionError) as error:
        started(*argv, *SMALL)
    assert nearest in str(error.value) and error.value.exit_code == 2
    assert not cache.exists(), "no data was read"


def test_heads_of_a_checkpoint_are_known_from_its_configuration(monkeypatch, cache, tmp_path):
    import catalog

    config = catalog.config("gpt2", vocab=33, width=24, depth=1, heads=6, hidden=32, positions=16)
    catalog.save(catalog.build("gpt2", config, head="causal-lm"), tmp_path / "gpt2")
    (tmp_path / "gpt2" / "model.safetensors").unlink()  # weights are not looked for
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(OptionError, match=r"heads: 6; legal: tp=1,2,3,6"):
        started("recipe=gpt2_clm", "strategy=tp", f"model.source={tmp_path / 'gpt2'}")
    assert not cache.exists()


def test_a_strategy_whose_library_is_not_installed(monkeypatch, cache):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "deepspeed" else find(name, *more)
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match=r"pip install 'trivium\[deepspeed\]'\n   or choose strategy=fsdp") as error:
        started("recipe=bert_glue", "strategy=deepspeed_zero2")
    assert error.value.exit_code == 2 and not cache.exists()


@pytest.mark.parametrize("dtype", ["fp16", "fp8"])
def test_a_format_that_the_device_lacks(dtype, monkeypatch, cache, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["recipe=bert_glue", f"precision={dtype}", *SMALL]) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"error: precision.dtype={dtype} needs") and "choose precision.dtype=" in said
    assert not cache.exists(), "no data was read"


def test_a_checkpoint_of_another_model(capsys):
    assert main(["recipe=bert_glue", "run_dir=one", "train.steps=2", *SMALL, "model.config.heads=2"]) == 0
    before = {path: path.read_bytes() for path in Path("one/checkpoints").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["resume=one", "model.config.depth=3", "train.steps=4"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: the checkpoint is not of this model") and "nothing was loaded" in said
    assert "missing     backbone.layers.2.attn.q.weight" in said
    assert {path: path.read_bytes() for path in before} == before
