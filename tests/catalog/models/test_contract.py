"""What every registered model promises beside its numbers; a new page is covered the moment its golden file is here."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import catalog
from catalog import registry
from catalog.errors import LoadError
from tests.support import golden
from tests.support.export import Named

ALL = [case for case in golden.cases() if case.data["class"] in registry.CLASSES]
# one class stands for each model: the bare backbone, where it has a golden file
CASES = {
    registry.CLASSES[case.data["class"]][0]: case
    for case in sorted(ALL, key=lambda c: registry.CLASSES[c.data["class"]][1] is None)
}
TEXT = {name: case for name, case in CASES.items() if {"input_ids", "attention_mask"} <= set(case.inputs)}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_text = pytest.mark.parametrize("case", TEXT.values(), ids=TEXT)


@pytest.fixture
def folder(case, tmp_path):
    return case.write(tmp_path / "published")


def _inputs(case):
    """Inputs without answers and extra outputs."""
    targets = {"labels", "start_positions", "end_positions", "next_sentence_label", "sentence_order_label"}
    return {name: value for name, value in case.inputs.items() if name not in targets}


def _first(result):
    """The output that a user reads first."""
    return next(v for n, v in golden.outputs(result).items() if n != "loss" and v.is_floating_point())


def test_every_model_has_golden_files():
    assert set(CASES) == set(registry.MODELS)
    classes = {case.data["class"] for case in ALL}
    assert set(registry.CLASSES) == classes


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_names_cover_the_model(case):
    name, head, config = catalog.read_config(_config_file(case))
    model = catalog.build(name, config, head=head, device="meta")
    mapping = registry.names_of_model(model)
    ours = [n for step in mapping.steps(model.state_dict(), published=False) for n in step.ours]
    assert sorted(ours) == sorted(model.state_dict())
    assert all(mapping.explain(n) for n in ours)


def _config_file(case, folder=None):
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "config.json"
    path.write_text(json.dumps(case.config()))
    return path


@each
def test_a_missing_tensor_is_refused_by_name(case, folder):
    tensors = load_file(folder / "model.safetensors")
    lost = sorted(tensors)[len(tensors) // 2]
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(LoadError, match="Nothing was loaded") as error:
        catalog.load(folder)
    assert "missing" in str(error.value) and lost.rsplit(".", 1)[0].split(".")[-1] in str(error.value)


@each
def test_a_fresh_model_starts_at_the_published_scale(case, folder):
    name, head, config = catalog.read_config(folder)
    model = catalog.build(name, config, head=head, seed=0)
    again = catalog.build(name, config, head=head, seed=0)
    for (path, one), other in zip(model.named_parameters(), again.parameters()):
        assert one.isfinite().all(), path
        assert torch.equal(one, other), path
    with torch.no_grad():
        assert _first(model.eval()(**_inputs(case))).isfinite().all()


@each
def test_bf16_runs(case, folder):
    model = catalog.load(folder, dtype=torch.bfloat16)
    inputs = {n: v.bfloat16() if torch.is_tensor(v) and v.is_floating_point() else v for n, v in _inputs(case).items()}
    with torch.no_grad():
        assert _first(model(**inputs)).isfinite().all()


@each
def test_compiles_as_one_graph(case, folder):
    model = catalog.load(folder)
    torch.compiler.reset()  # each model is the first of its process
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(_first(compiled(**_inputs(case))), _first(model(**_inputs(case))))


@each_text
def test_padding_on_either_side_changes_nothing(case, folder):
    model = catalog.load(folder, head="backbone", new=["pool.*"])
    ids = case.inputs["input_ids"].reshape(-1, case.inputs["input_ids"].shape[-1])[:1]
    ids = torch.where(ids == 0, 5, ids)
    extra = {}
    if "decoder_input_ids" in case.inputs:
        extra["decoder_input_ids"] = case.inputs["decoder_input_ids"][:1]
    if "pixel_values" in case.inputs:
        extra["pixel_values"] = case.inputs["pixel_values"][:1]
    pad = torch.full((1, 3), model.config.pad_id or 0)
    real, none = torch.ones_like(ids), torch.zeros(1, 3, dtype=torch.long)
    width = ids.shape[1]
    with torch.no_grad():
        alone = _first(model(input_ids=ids, attention_mask=real, **extra))
        right = _first(model(input_ids=torch.cat([ids, pad], 1), attention_mask=torch.cat([real, none], 1), **extra))
        left = _first(model(input_ids=torch.cat([pad, ids], 1), attention_mask=torch.cat([none, real], 1), **extra))
    if not extra:
        right, left = right[:, :width], left[:, 3:]
    torch.testing.assert_close(right, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(left, alone, rtol=1e-4, atol=1e-5)


@each_text
def test_unpadded_sequences_keep_apart(case, folder):
    model = catalog.load(folder, head="backbone", new=["pool.*"])
    if "lengths" not in model.forward.__code__.co_varnames:
        pytest.skip(f"{model.name} does not take unpadded batches")
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(3, model.config.vocab, (n,), generator=generator) for n in (5, 2, 2, 7)]
    with torch.no_grad():
        packed = model(input_ids=torch.cat(rows)[None], lengths=torch.tensor([len(r) for r in rows]))
        alone = [model(input_ids=row[None]) for row in rows]
    states = packed.last_hidden_state[0].split([len(r) for r in rows])
    for got, want in zip(states, alone):
        torch.testing.assert_close(got, want.last_hidden_state[0], rtol=1e-4, atol=1e-5)
    if packed.pooler_output is not None:
        torch.testing.assert_close(
            packed.pooler_output, torch.cat([a.pooler_output for a in alone]), rtol=1e-4, atol=1e-5
        )


@each
def test_exports_with_open_batch_and_length(case, folder):
    model = catalog.load(folder)
    inputs = {name: value for name, value in _inputs(case).items() if torch.is_tensor(value)}
    shapes = {name: _open(name, value) for name, value in inputs.items()}
    program = torch.export.export(Named(model), (inputs,), dynamic_shapes=(shapes,), strict=False)
    with torch.no_grad():
        doubled = {name: torch.cat([value, value]) for name, value in inputs.items()}
        torch.testing.assert_close(_first(program.module()(doubled)), _first(model(**doubled)), rtol=1e-4, atol=1e-5)


BATCH, LENGTH = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", min=2, max=32)
TARGET = torch.export.Dim("target", min=2, max=32)


def _open(name, value):
    """Which dimensions stay open: the batch everywhere, the length of texts."""
    axes = {0: BATCH}
    if name in ("input_ids", "attention_mask", "token_type_ids"):
        axes[value.dim() - 1] = LENGTH
    elif name.startswith("decoder_"):
        axes[value.dim() - 1] = TARGET
    return axes
