"""docs/how-to/flax.md does what it says: its Python is run, and its claims are checked."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import catalog
from catalog.__main__ import main

pytest.importorskip("flax")

PAGE = Path(__file__).parents[3] / "docs/how-to/flax.md"


def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    config = catalog.config("bert", vocab=40, width=16, depth=2, heads=2, hidden=32, positions=16)
    tuned = catalog.build("bert", config, head="sequence-classification", seed=0)
    optimizer = torch.optim.AdamW(tuned.parameters(), 1e-3)
    ids, labels = torch.tensor([[5, 9, 2, 17], [8, 1, 4, 6]]), torch.tensor([1, 0])
    for _ in range(3):
        tuned(ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    catalog.save(tuned.eval(), "my-model")

    here: dict = {}
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    exec(code[0], here)
    with torch.no_grad():
        wanted = tuned(ids, torch.ones_like(ids)).logits
    np.testing.assert_allclose(here["out"].logits, wanted, atol=1e-5)  # tuned in PyTorch, the same in Flax

    exec("\n".join(code[1:3]), here)
    assert here["losses"][-1] < here["losses"][0]
    with torch.no_grad():
        got = here["in_torch"](ids).logits
    np.testing.assert_allclose(got, here["model"](here["ids"]).logits, atol=1e-5)  # tuned in Flax, the same in PyTorch
    assert torch.equal(catalog.load("tuned-torch").out.weight, here["in_torch"].out.weight)
    in_flax = catalog.load("in-flax", framework="flax")
    assert np.array_equal(in_flax.out.kernel[...], tuned.out.weight.detach().numpy().T)

    exec(code[3], here)
    more = np.arange(21).reshape(3, 7)  # another batch and length than the file was made with
    served = here["serve"]({"input_ids": more})["logits"]
    np.testing.assert_allclose(served, here["model"](more).logits, atol=1e-5)

    line = re.search(r"^python -m catalog (convert .*)$", PAGE.read_text(encoding="utf-8"), re.M)[1]
    assert main(line.split()) == 0


def test_files_that_are_no_stablehlo_are_named(tmp_path):
    from catalog.errors import LoadError
    from catalog.ports import stablehlo

    with pytest.raises(LoadError, match="cannot be read"):
        stablehlo.load(tmp_path / "nothing")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(LoadError, match="not a StableHLO file"):
        stablehlo.load(tmp_path / "junk")
