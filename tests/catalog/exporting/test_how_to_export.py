"""docs/how-to/export.md does what it says: its commands and its Python are run, and its claims are checked."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import catalog
from catalog.__main__ import main

pytest.importorskip("onnxruntime")

PAGE = (Path(__file__).parents[3] / "docs/how-to/export.md").read_text(encoding="utf-8")


def test_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = catalog.config("bert", vocab=40, width=16, depth=1, heads=2, hidden=32, positions=32, labels=("no", "yes"))
    model = catalog.build("bert", config, head="sequence-classification", seed=0).eval()
    catalog.save(model, "my-model")

    for line in re.findall(r"^python -m catalog (export .*)$", PAGE, re.M):
        assert main(line.split()) == 0
        assert "output  logits  float32 [batch, 2]" in capsys.readouterr().out
    assert Path("my-model.onnx").is_file() and Path("my-model.pt").is_file()

    here: dict = {}
    blocks = re.findall(r"^(<!-- not run.*?-->\n)?```python\n(.*?)^```", PAGE, re.M | re.S)
    run = [code for spared, code in blocks if not spared]
    assert len(run) == len(blocks) - 1 == 5
    for code in run:
        exec(code, here)
    with torch.no_grad():
        wanted = model(**{name: torch.from_numpy(array) for name, array in here["texts"].items()}).logits
    np.testing.assert_allclose(here["logits"], wanted, atol=1e-5)
    given = {name: torch.from_numpy(array) for name, array in here["texts"].items()}
    np.testing.assert_allclose(here["served"](given)["logits"].detach(), wanted, atol=1e-5)
    shown = re.search(r'facts\["inputs"\]\[1\]  # (\{.*\})', PAGE)[1]
    assert here["facts"]["inputs"][1] == eval(shown)
    assert here["facts"]["labels"] == ["no", "yes"]
    session = here["onnxruntime"].InferenceSession("served/ids.onnx")
    assert [one.name for one in session.get_inputs()] == ["input_ids"]


def test_commands_that_are_wrong_say_so(tmp_path, capsys):
    assert main(["export", str(tmp_path), "x.onnx", "--format", "onxx"]) == 2
    assert "did you mean 'onnx'" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "x.onnx", "--image", "large"]) == 2
    assert "HEIGHTxWIDTH" in capsys.readouterr().err
    assert main(["export", str(tmp_path), str(tmp_path / "x.onnx")]) == 2
    assert "config.json" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
