"""What processes save under one strategy, others take up under another: the next losses are those of the unstopped run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.equivalence import checkpoint_worker as worker
from trainer.checkpoint.saved import Saved
from trainer.checkpoint.store import Checkpoints

ROOT = Path(__file__).resolve().parents[2]
SPREAD = (
    "fsdp4",
    "hsdp4",
    "both4",
    "fsdp2",
    "tp2",
    "hand2",
    "ddp2",
    "into4",
    "cp2",
)  # cells that save, by strategy and processes


def launch(folder, processes, *cells, fails=False):
    """Run cells in so many processes; what each rank wrote, by the name of the cell."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *start, worker.__file__, str(folder), json.dumps(cells)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert (done.returncode != 0) == fails, done.stderr[-4000:]
    if fails:
        return done.stderr
    return {
        c["name"]: [json.loads((folder / f"{c['name']}.{r}.json").read_text()) for r in range(processes)] for c in cells
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four processes save under two strategies, two take it up under others and save, one takes up everything."""
    folder = tmp_path_factory.mktemp("runs")
    found = launch(
        folder, 4,
        {"name": "fsdp4", "strategy": "fsdp", "save": "from_fsdp4"},
        {"name": "hsdp4", "strategy": "hsdp", "save": "from_hsdp4", "background": True},
        {"name": "both4", "strategy": "fsdp_tp", "save": "from_both4", "background": True},
        {"name": "into4", "strategy": "fsdp_tp", "load": "from_hsdp4", "save": "from_into4"},
    )  # fmt: skip
    found |= launch(
        folder, 2,
        {"name": "fsdp2", "strategy": "fsdp", "load": "from_fsdp4", "save": "from_fsdp2"},
        {"name": "tp2", "strategy": "tp", "load": "from_fsdp4", "save": "from_tp2"},
        {"name": "hand2", "strategy": "by hand", "load": "from_both4", "save": "from_hand2"},
        {"name": "ddp2", "strategy": "ddp", "load": "from_hsdp4", "save": "from_ddp2", "background": True},
        {"name": "cp2", "strategy": "cp", "load": "from_both4", "save": "from_cp2", "background": True},
        {"name": "other", "strategy": "fsdp", "load": "from_fsdp4", "sizes": {"depth": 3, "hidden": 32}},
    )  # fmt: skip
    cells = [{"name": f"one from_{name}", "strategy": "single", "load": f"from_{name}"} for name in SPREAD]
    found |= launch(folder, 1, {"name": "unstopped", "strategy": "single", "save": "from_one"}, *cells)
    return folder, found


def losses(*names, runs):
    return {int(step): loss for name in names for step, loss in runs[1][name][0]["losses"].items()}


@pytest.mark.parametrize("cell", SPREAD)
def test_every_strategy_goes_on_with_what_another_saved(runs, cell):
    expected = losses("unstopped", "one from_fsdp2", runs=runs)  # nine steps
    for result in runs[1][cell]:
        assert len(result["losses"]) == 6
        for step, loss in result["losses"].items():
            assert loss == pytest.approx(expected[int(step)], abs=1e-9), (cell, step)


@pytest.mark.parametrize("source", SPREAD)
def test_one_process_goes_on_with_it(runs, source):
    """Also where training went on while the copy was written: the losses are those after the step of the call."""
    found, expected = losses(f"one from_{source}", runs=runs), losses("unstopped", source, runs=runs)
    assert len(found) == 3
    for step, loss in found.items():
        assert loss == pytest.approx(expected[step], abs=1e-9), (source, step)


def test_names_are_those_of_the_model_under_every_strategy(runs):
    expected = runs[1]["unstopped"][0]["names"]
    assert "model.backbone.embed.tokens.weight" in expected and not any("head" in name for name in expected)
    for cell in SPREAD:
        assert all(result["names"] == expected for result in runs[1][cell]), cell


@pytest.mark.parametrize("name, ranks", [("from_fsdp4", 4), ("from_hsdp4", 4), ("from_both4", 4), ("from_ddp2", 2)])
def test_everything_is_written_once_and_by_all(runs, name, ranks):
    (path,) = (runs[0] / name).glob("step_?")
    numbers = sum(shape.numel() for _, shape in Saved(path).shapes.values())
    sizes = [(path / f"rank_{rank}.safetensors").stat().st_size for rank in range(ranks)]
    headers = 120 * len(Saved(path).shapes) * ranks
    assert 8 * numbers * 0.99 < sum(sizes) < 8 * numbers + headers, "float64, and nothing twice"
    assert min(sizes) > 0.5 * max(sizes)


def test_the_values_are_the_same_to_the_bit_however_they_are_divided(runs):
    """The step that four processes saved while training went on, and the one saved while they waited."""
    one, four = (Saved(runs[0] / name / "step_3") for name in ("from_fsdp4", "from_hsdp4"))
    assert one.shapes == four.shapes
    for name in one.shapes:
        torch.testing.assert_close(one.whole(name), four.whole(name), rtol=1e-9, atol=1e-9)


def test_another_model_is_refused_on_every_process_before_anything_is_loaded(runs):
    for result in runs[1]["other"]:
        assert result["unchanged"]
        assert "the checkpoint is not of this model, 22 tensors differ" in result["refused"]
        assert "missing     backbone.layers.2.attn.q.weight" in result["refused"]
        assert "shape       backbone.layers.0.mlp.up.weight: checkpoint [30, 16], model [32, 16]" in result["refused"]


def test_a_process_killed_while_it_saves_leaves_the_checkpoint_before(tmp_path):
    cell = {"name": "killed", "strategy": "fsdp", "save": "run", "background": True, "kill": 1}
    said = launch(tmp_path, 2, cell, fails=True)
    assert "-9" in said
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"step_2", "step_3.tmp", "latest"}
    path, refused = Checkpoints(tmp_path / "run").newest_valid()
    assert path.name == "step_2" and refused == [(tmp_path / "run" / "step_3.tmp", "the save was cut short")]
    found = launch(tmp_path, 2, {"name": "again", "strategy": "fsdp", "load": "run", "save": "run"})["again"]
    assert len(found[0]["losses"]) == 6
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"step_2", "step_6", "latest"}
