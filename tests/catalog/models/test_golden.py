"""Every registered model gives the published numbers: outputs, loss and gradients, loaded from a published folder."""

import math
from dataclasses import fields, replace

import pytest
import torch

import catalog
from catalog import registry
from catalog.checkpoints.plan import ties
from catalog.configs import Config
from tests.support import golden

CASES = [case for case in golden.cases() if case.data["class"] in registry.CLASSES]

# (case, output): why its tolerance is larger than 1e-4 of the output's largest value, and what it is
LOOSE: dict[tuple[str, str], float] = {}


def _load(case, tmp_path):
    return catalog.load(case.write(tmp_path / "published"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_published_numbers(case, tmp_path):
    model = _load(case, tmp_path)
    result = model(**case.inputs, **case.call)
    got, want = golden.outputs(result), case.data["outputs"]
    assert set(want) <= set(got), f"missing outputs: {set(want) - set(got)}"
    mask = case.inputs.get("attention_mask")
    for name, expected in want.items():
        value = got[name]
        if case.data.get("mask_outputs") and mask is not None and value.shape[:2] == mask.shape:
            value = value * mask.view(*mask.shape, *[1] * (value.dim() - 2))
        golden.expect(value, expected, name, LOOSE.get((case.name, name), 1e-4))
    _gradients(case, model, got)


def _gradients(case, model, got):
    recorded = case.data.get("gradients")
    if not recorded:
        return
    of = recorded["of"]
    scalar = got[of] if of == "loss" else got[of.removeprefix("sum(").removesuffix(")")].sum()
    scalar.backward()
    mapping = registry.names_of_model(model)
    gradients = {}
    copies = ties(model)
    named = {n: p for n, p in model.named_parameters() if n not in copies}
    for step in mapping.steps(named, published=False):
        grads = [named[n].grad if named[n].grad is not None else torch.zeros_like(named[n]) for n in step.ours]
        grads = step.op.save(grads, model.config) if step.op is not None else grads
        gradients |= dict(zip(step.published, grads))
    for name, expected in recorded["params"].items():
        gradient = gradients[mapping.current(name)]
        assert float(gradient.double().norm()) == pytest.approx(expected["norm"], rel=1e-3, abs=1e-6), name
        scale = {"shape": list(gradient.shape), "absmax": float(gradient.abs().max()), "sample": expected["sample"]}
        golden.expect(gradient, scale, f"gradient of {name}", LOOSE.get((case.name, "gradients"), 5e-4))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_save_inverts_load(case, tmp_path):
    model = _load(case, tmp_path)
    saved = golden_read(catalog.save(model, tmp_path / "saved"))
    mapping = registry.names_of_model(model)
    kept = {n: t for n, t in case.weights.items() if not mapping.dropped(mapping.current(n))}
    spelled = {mapping.current(name): tensor for name, tensor in kept.items()}
    assert saved.keys() == spelled.keys()
    assert all(torch.equal(saved[name], spelled[name]) for name in saved)
    again = catalog.load(tmp_path / "saved")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert again.config == model.config or _same_config(again.config, model.config)
    count = sum(p.numel() for p in model.parameters())
    assert count in (case.data["num_parameters"], case.data["num_parameters"] - _derived(case, mapping))


def _derived(case, mapping):
    """Numbers in fixed tables that the published class keeps as parameters, and that are derived here."""
    tables = [name for name, buffer in case.data.get("buffers", {}).items() if buffer["dtype"] == "float32"]
    shapes = {name: shape for name, shape, _, _ in case.data["tensors"]}
    return sum(math.prod(shapes[name]) for name in tables if mapping.dropped(name))


def _same_config(one, other):
    return _bare(one) == _bare(other)


def _bare(config):
    """Without ``extra``, in configurations inside it too."""
    inner = {f.name: getattr(config, f.name) for f in fields(config)}
    return replace(config, extra={}, **{name: _bare(c) for name, c in inner.items() if isinstance(c, Config)})


def golden_read(folder):
    """Every tensor of a saved folder."""
    from catalog.checkpoints.readers import open_folder

    reader = open_folder(folder)
    return {name: reader.read(name) for name in reader.shapes()}
