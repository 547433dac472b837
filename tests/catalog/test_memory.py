"""Loading takes the memory of the model and of one tensor, whatever stands between the file and the model."""

import pytest
import torch

import catalog
from catalog.building import materialise
from tests.support.memory import load_in_a_process

SIZES = {
    "llama": {"width": 1024, "depth": 4, "heads": 8, "hidden": 4096, "vocab": 8000, "positions": 512},
    "gpt2": {"width": 1024, "depth": 5, "heads": 8, "vocab": 8000, "positions": 512},
}


@pytest.mark.parametrize(
    ("model", "stored", "wanted"),
    [
        ("llama", torch.float32, ""),
        ("llama", torch.bfloat16, "float32"),  # cast: the file's own type is never held beside the model
        ("gpt2", torch.float32, ""),  # joined and turned in the file
    ],
    ids=["kept", "cast", "parted"],
)
def test_peak_memory_is_the_model_and_one_tensor(tmp_path, model, stored, wanted):
    made = catalog.build(model, catalog.config(model, **SIZES[model]), head="causal-lm", device="meta")
    materialise(made, "cpu", stored)  # no values are drawn: only their number matters
    catalog.save(made, tmp_path / "model", shard_bytes=60_000_000)
    del made
    got = load_in_a_process(tmp_path / "model", model, wanted)
    assert got["model"] > 200_000_000
    assert got["peak"] - got["baseline"] < 1.1 * (got["model"] + got["largest"])
