"""Every model of the registry as ONNX and as TorchScript is the model, at sizes that neither was made with.

A new page is covered the moment its golden files are here.
"""

import json

import numpy as np
import pytest
import torch

import catalog
from catalog import registry
from catalog.exporting.sample import example
from catalog.ports import parity
from tests.support import ports

# The head of each model that stands for it, the first of these that it has: what people serve.
SERVED = ("object-detection", "seq2seq-lm", "ctc", "sequence-classification", "image-classification", "projection")
TOLERANCE = 1e-4  # of the largest value


def _chosen(name):
    """The golden file of a model that is exported here."""
    cases = {registry.CLASSES[case.data["class"]]: case for case in ports.CASES}
    own = {head: case for (model, head), case in cases.items() if model == name}
    return next((own[head] for head in SERVED if head in own), None) or next(iter(own.values()))


@pytest.fixture(params=registry.names())
def model(request):
    return ports.torch_model(_chosen(request.param))


def _inputs(model):
    """The default example; where a page takes images of any size, small ones."""
    sized = hasattr(getattr(model.config, "vision", model.config), "image")
    return example(model, None if sized else (64, 64))


def _same(model, run, given):
    """What the file gives at a batch and lengths of two more than it was made with is what the model gives."""
    given = ports.larger(ports.larger(given))
    with torch.no_grad():
        wanted = parity.flat(model(**given))
    got = run(given)
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        found = parity.difference(got[name], tensor.numpy(), name)
        assert found <= TOLERANCE, f"{name} is off by {found:.3g} of its largest value"


def test_onnx(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    given = _inputs(model)
    path = catalog.export(model, tmp_path / "model.onnx", inputs=given)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [out.name for out in session.get_outputs()]
    taken = {one.name: one.shape for one in session.get_inputs()}
    assert taken.keys() == given.keys()
    assert all(isinstance(shape[0], str) for shape in taken.values()), "the batch is fixed"
    facts = json.loads((tmp_path / "model.onnx.json").read_text())
    assert {one["name"]: one["shape"] for one in facts["inputs"]} == taken
    assert [one["name"] for one in facts["outputs"]] == names
    _same(model, lambda more: dict(zip(names, session.run(names, {n: t.numpy() for n, t in more.items()}))), given)


def test_torchscript(model, tmp_path):
    given = _inputs(model)
    loaded = torch.jit.load(catalog.export(model, tmp_path / "model.pt", "torchscript", inputs=given))
    with torch.no_grad():
        _same(model, lambda more: {n: np.asarray(t) for n, t in loaded(more).items()}, given)
