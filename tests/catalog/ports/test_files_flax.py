"""Flax files of every published class: read back bit for bit, with exactly the published names and shapes."""

import numpy as np
import pytest
import torch

import catalog
from catalog.ports import export
from tests.support import ports

pytest.importorskip("flax")

from catalog.ports.flax import Port

every = pytest.mark.parametrize("case", ports.CASES, ids=lambda case: case.name)


def _port(model):
    return Port(export.blueprint(model), export.values(model))


@every
def test_files(case, tmp_path):
    model = ports.torch_model(case)
    port = _port(model)
    folder = catalog.save(port, tmp_path / "flax")
    again = catalog.load(folder, framework="flax")
    assert _same(again.values(), port.values())
    back = catalog.load(folder)
    state, counters = back.state_dict(), ".num_batches_tracked"
    assert all(torch.equal(state[n], t) for n, t in model.state_dict().items() if not n.endswith(counters))
    if "flax_names" in case.data:
        from catalog.checkpoints import msgpack

        got = {name: list(array.shape) for name, array in msgpack.read(folder / msgpack.NAME).items()}
        assert got == dict(map(tuple, case.data["flax_names"]))


def _same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[n], other[n], equal_nan=one[n].dtype.kind == "f")
        for n in one if not n.endswith(".num_batches_tracked")
    )  # fmt: skip
