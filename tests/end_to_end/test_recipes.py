"""Every recipe through train.py's main, bert_glue apart: its demo learns, is saved, and read back it measures the same.

What is run and expected stands in ``expected/NAME.yaml``: ``overrides`` shorten the demo, ``metric`` and ``at_least`` or
``at_most`` say what it must reach, ``untrained`` what it was before (for the reader).
"""

import json
from pathlib import Path

import pytest
import yaml

from launchers.cli import main
from launchers.config.tree import read_tree

EXPECTED = Path(__file__).parent / "expected"
RECIPES = [name for name in read_tree().options("recipe") if name != "bert_glue"]  # see test_bert_glue.py


def events(folder, kind):
    every = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [event for event in every if event["event"] == kind]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_demo_learns_and_its_saved_model_reads_back_to_the_same_figures(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    expected = yaml.safe_load((EXPECTED / f"{recipe}.yaml").read_text())
    given = [f"recipe={recipe}", *expected["overrides"]]
    assert main([*given, f"run_dir={tmp_path / 'run'}"]) == 0
    done = events(tmp_path / "run", "done")[-1]
    low, high = expected.get("at_least", -float("inf")), expected.get("at_most", float("inf"))
    assert low <= done["best"] <= high and ("at_least" in expected) != ("at_most" in expected)
    best = next(event for event in events(tmp_path / "run", "eval") if event[expected["metric"]] == done["best"])

    again = [f"run_dir={tmp_path / 'again'}", f"model.source={tmp_path / 'run' / 'model'}", "optim.lr=1e-12"]
    assert main([*given, *again, "train.steps=1"]) == 0
    read = events(tmp_path / "again", "eval")[-1]
    assert read[expected["metric"]] == pytest.approx(best[expected["metric"]], rel=1e-6)
    assert read["loss"] == pytest.approx(best["loss"], rel=1e-6)
