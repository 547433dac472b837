"""Every strategy against one process, over models, accumulation, layouts and recomputing: the table in docs/reference.

A launch of so many processes trains all cells that have them, two steps each. What one process makes of the same trainings
is made here, before.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.equivalence import grid_worker, models
from tests.support import strategies_table as table
from trainer.strategies import base

ROOT = Path(__file__).resolve().parents[2]
CELLS = [cell for cell in table.cells() if table.why_not(cell) is None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one process has left what it makes of every training."""
    folder = tmp_path_factory.mktemp("grid")
    grid_worker.alone(folder, CELLS)
    return folder


@pytest.fixture(scope="module")
def found(folder, request):
    """The largest difference of each cell that was asked for, of whichever process, by its key."""
    tests = [item for item in request.session.items if item.originalname == "test_processes_learn_what_one_does"]
    places, differences = [(test.callspec.params["strategy"], test.callspec.params["world"]) for test in tests], {}
    for world in sorted({world for _, world in places}):
        cells = [cell for cell in CELLS if (cell.strategy, world) in places and cell.world == world]
        start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", grid_worker.__file__]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *start, str(folder), json.dumps([cell._asdict() for cell in cells])]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=570)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
        each = [json.loads((folder / f"out.{world}.{rank}.json").read_text()) for rank in range(world)]
        differences |= {cell.key: max(of) for cell, *of in zip(cells, *each)}
    return differences


@pytest.mark.parametrize("strategy, world", table.PLACES)
def test_processes_learn_what_one_does(found, strategy, world, record_testsuite_property):
    cells = [cell for cell in CELLS if (cell.strategy, cell.world) == (strategy, world)]
    record_testsuite_property("differences", json.dumps({cell.key: found[cell.key] for cell in cells}))
    assert [(c.key, found[c.key]) for c in cells if not found[c.key] < table.FORMATS[c.dtype]] == []


def test_there_is_something_to_learn(folder):
    """Weights move in each training: strategies that did nothing would not be equal to it."""
    before = {name: models.build(name).state_dict() for name in table.MODELS}
    for training, model in {cell.training: cell.model for cell in CELLS if cell.exact}.items():
        after = load_file(folder / f"{training}.safetensors")
        moved = [
            name for name in before[model].keys() & after if (before[model][name] - after[name]).abs().max() > 1e-3
        ]
        assert len(moved) > 10, training


def test_every_strategy_has_its_cells():
    assert base.CLASSES.keys() - {"single"} == {name for name, _ in table.PLACES}


def test_the_page_is_of_results_that_are_complete():
    found = table.results()
    assert found.keys() == {cell.key for cell in CELLS}, table.RENEW
    assert all(found[cell.key] < table.FORMATS[cell.dtype] for cell in CELLS)
    assert table.PAGE.read_text(encoding="utf-8") == table.page(found), table.RENEW
