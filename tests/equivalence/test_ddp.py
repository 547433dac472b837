"""Two processes over gloo against one, in float64: losses, weights, metrics, stopping and going on.

One launch of torchrun runs all cells, for importing PyTorch is what takes long.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER = str(Path(__file__).with_name("worker.py"))
CELLS = [
    {"name": "unpadded", "tokens": 24},
    {"name": "accumulated", "tokens": 16, "accumulate": 3},
    {"name": "bucketed", "layout": "bucketed", "tokens": 32},
    {"name": "lonely", "layout": "padded", "size": 4},  # 37 rows: the last batch has one, the second process none
    {"name": "single rows", "size": 1, "accumulate": 2, "clip": None},  # the second process never has any
    {"name": "numbers", "tokens": 24, "kind": "regression"},
]
STOP = {"tokens": 24, "stop": 6, "folder": "cut"}


def launch(folder, cells, processes):
    """Run the cells in ``processes`` processes; what each wrote."""
    cells = [{"folder": cell["name"], **cell} for cell in cells]
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *start, WORKER, str(folder), json.dumps(cells)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    names = range(processes) if processes > 1 else ["one"]
    return [json.loads((folder / f"out.{name}.json").read_text()) for name in names]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process gives."""
    folder = tmp_path_factory.mktemp("one")
    cells = [*CELLS, {"name": "stop", **STOP}]
    return folder, launch(folder, cells, 1)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory, one):
    """What two give, each; they also go on with the run that one process was stopped in."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "other").symlink_to(one[0] / "cut")
    cells = [*CELLS, {"name": "stop", **STOP}, {"name": "resumed", **STOP, "stop": None, "resume": True}]
    cells.append({"name": "from one", "tokens": 24, "folder": "other", "resume": True})
    cells.append({"name": "left", **STOP, "folder": "left"})
    return folder, launch(folder, cells, 2)


def close(a, b):
    """Equal, numbers to 1e-9."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == b if isinstance(a, str | bool | None) else b == pytest.approx(a, abs=1e-9, rel=1e-9, nan_ok=True)


def rows(*results):
    """The rows of each optimizer step's micro batches, of all processes together."""
    return [[sorted(row for share in shares for row in share) for shares in zip(*micros)] for micros in zip(*results)]


@pytest.mark.parametrize("name", [cell["name"] for cell in CELLS])
def test_losses_weights_and_metrics_are_those_of_one_process(one, two, name):
    expected = one[1][name]
    assert len(expected["steps"]) > 8 and len(expected["evals"]) == 2
    for found in (result[name] for result in two[1]):
        for what in ("loss_at_0", "steps", "evals", "weights", "predictions"):
            assert close(expected[what], found[what]), what


def test_shares_are_disjoint_and_together_the_batch(one, two):
    for cell in CELLS:
        expected, found = one[1][cell["name"]]["rows"], [result[cell["name"]]["rows"] for result in two[1]]
        assert rows(*found) == rows(expected), cell
        assert sorted(row for step in rows(expected) for micro in step for row in micro) == sorted([*range(37)] * 2)
    assert any(micro == [] for step in two[1][1]["lonely"]["rows"] for micro in step)
    assert not any(micro for step in two[1][1]["single rows"]["rows"] for micro in step)


def test_a_signal_to_one_process_stops_both_at_the_same_step(one, two):
    assert [result["stop"]["stopped"] for result in two[1]] == [one[1]["stop"]["stopped"]] * 2
    assert one[1]["stop"]["stopped"].startswith("SIGTERM: saved step 6 of ")


@pytest.mark.parametrize("name", ["resumed", "from one"])
def test_resumed_on_either_number_of_processes_it_ends_the_same(one, two, name):
    """A run stopped at step 6, by two processes or by one, that two go on with: the steps from there, the same rows."""
    expected = one[1]["unpadded"]
    for result in two[1]:
        assert result[name]["stopped"] is None
        assert close(expected["weights"], result[name]["weights"])
        assert close(expected["evals"], result[name]["evals"])
        assert close(expected["steps"], result[name]["steps"])
    assert rows(*(result[name]["rows"] for result in two[1]))[-6:] == rows(expected["rows"])[-6:]


def test_one_process_goes_on_with_the_run_of_two(one, two):
    expected, (folder, _) = one[1]["unpadded"], two
    (found,) = launch(folder, [{"name": "alone", "tokens": 24, "folder": "left", "resume": True}], 1)
    for what in ("weights", "evals", "steps"):
        assert close(expected[what], found["alone"][what]), what
