"""What checkpoints of all kinds hold: old spellings, mixed types, ties over shards, code, quantised weights, other models."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

import catalog
import catalog.saving
from catalog.checkpoints import writers
from catalog.checkpoints.readers import open_folder
from catalog.errors import ConfigError, LoadError
from catalog.namemap import NameMap
from tests.support import golden

CASE = golden.Golden(golden.FOLDER / "bert" / "BertForMaskedLM.json")
TOKENS, COPY = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


@pytest.fixture
def folder(tmp_path):
    return CASE.write(tmp_path / "model")


def files(folder):
    return sorted(path.name for path in folder.iterdir() if "safetensors" in path.name or path.name.startswith("."))


def values(folder):
    return {name: value.clone() for name, value in catalog.load(folder).state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def shard(folder, *parts):
    """Split the folder's weights into shards of these tensors (the last takes the rest)."""
    tensors, index = load_file(folder / "model.safetensors"), {}
    for number, part in enumerate([*parts, None]):
        names = list(tensors) if part is None else [name for name in part if name in tensors]
        save_file({name: tensors.pop(name) for name in names}, folder / f"part{number}.safetensors")
        index |= dict.fromkeys(names, f"part{number}.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


@pytest.mark.parametrize("first", [COPY, TOKENS])
def test_a_tie_over_shards_is_one_tensor_and_checked(folder, first):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {COPY: tensors[TOKENS].clone()}, folder / "model.safetensors")
    shard(folder, [first])
    model = catalog.load(folder)
    assert model.out.weight is model.backbone.embed.tokens.weight and torch.equal(model.out.weight, tensors[TOKENS])
    name = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][COPY]
    changed = load_file(folder / name)
    changed[COPY][3, 5] += 1
    save_file(changed, folder / name)
    with pytest.raises(LoadError, match="one in this model differ"):
        catalog.load(folder)


def test_every_tensor_keeps_its_own_type(folder):
    tensors = load_file(folder / "model.safetensors")
    mixed = {name: value if "LayerNorm" in name else value.bfloat16() for name, value in tensors.items()}
    save_file(mixed, folder / "model.safetensors")
    kinds = {name: parameter.dtype for name, parameter in catalog.load(folder).named_parameters()}
    assert set(kinds.values()) == {torch.float32, torch.bfloat16}
    assert all((kind == torch.float32) == (".norm" in name) for name, kind in kinds.items())


def test_a_type_that_is_asked_for_leaves_counts_and_switches_alone(tmp_path):
    from catalog import registry

    case = next(c for c in golden.cases("resnet") if "running_mean" in "".join(n for n, *_ in c.data["tensors"]))
    assert "resnet" in registry.names()
    folder = case.write(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    counts = {name: torch.tensor(7) for name in tensors if name.endswith("num_batches_tracked")}
    save_file(tensors | counts, folder / "model.safetensors")
    model = catalog.load(folder, dtype=torch.bfloat16)
    buffers = dict(model.named_buffers())
    assert {value.dtype for name, value in buffers.items() if name.endswith("num_batches_tracked")} == {torch.int64}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_all_types_are_read_bit_for_bit(tmp_path):
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
             torch.int8, torch.uint8, torch.bool]  # fmt: skip
    noise = torch.randn(3, 5) * 10
    tensors = {str(kind): noise.to(kind) for kind in kinds} | {"scalar": torch.tensor(2.5), "none": torch.zeros(0, 4)}
    tensors["large"] = torch.randn(700, 700)
    save_file(tensors, tmp_path / "model.safetensors")
    reader = open_folder(tmp_path)
    for name, tensor in tensors.items():
        got = reader.read(name)
        assert got.dtype == tensor.dtype == reader.dtype(name) and torch.equal(got, tensor), name


def test_what_is_loaded_does_not_hang_on_the_file(folder):
    model = catalog.load(folder)
    before = model.out.weight.clone()
    (folder / "model.safetensors").write_bytes(b"\0" * (folder / "model.safetensors").stat().st_size)
    assert torch.equal(model.out.weight, before)


def test_the_old_spelling_of_weight_norm_is_a_rename():
    spelling = NameMap(
        [("positions.{gain,direction}", "conv.parametrizations.weight.original{0,1}")],
        legacy=[(f"**.weight_{w}", f"**.parametrizations.weight.original{i}") for i, w in enumerate("gv")],
    )
    assert [spelling.current(f"conv.weight_{w}") for w in "gv"] == [
        f"conv.parametrizations.weight.original{i}" for i in (0, 1)
    ]
    steps = spelling.steps([spelling.current("conv.weight_g"), spelling.current("conv.weight_v")], published=True)
    assert [step.ours for step in steps] == [("positions.gain",), ("positions.direction",)]


def test_quantised_weights_are_refused(folder):
    published = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(published | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    with pytest.raises(ConfigError, match=r"quantised \(method 'gptq'\).*Take the repository"):
        catalog.load(folder)


def test_code_beside_the_weights_is_never_run(folder, tmp_path):
    ran = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    published = json.loads((folder / "config.json").read_text())
    auto = {"AutoModel": "modeling_own.Own", "AutoModelForMaskedLM": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(published | {"auto_map": auto}))
    assert catalog.load(folder).name == "bert" and not ran.exists()


def test_a_class_of_another_architecture_is_refused(folder):
    published = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(published | {"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="model_type is 'gpt2', but architectures has BertForMaskedLM"):
        catalog.load(folder)


def test_another_models_shards_go_when_the_new_set_stands(folder, tmp_path):
    model, target = catalog.load(folder), tmp_path / "target"
    other = catalog.build("gpt2", catalog.config("gpt2", width=64, depth=3, heads=4, vocab=500), head="causal-lm")
    catalog.save(other, target, shard_bytes=100_000)
    before = files(target)
    (target / ".shard-9.tmp").write_bytes(b"of a save that was killed")
    (target / "notes.safetensors").write_bytes(b"mine")
    catalog.save(model, target, shard_bytes=30_000)
    listed = set(json.loads((target / "model.safetensors.index.json").read_text())["weight_map"].values())
    assert len(before) != len(listed) + 1
    assert set(files(target)) == listed | {"model.safetensors.index.json", "notes.safetensors"}
    assert same(values(target), values(folder))
    catalog.save(model, target)
    assert files(target) == ["model.safetensors", "notes.safetensors"] and same(values(target), values(folder))


@pytest.mark.parametrize(("old", "new"), [(30_000, 30_000), (30_000, 20_000), (10**9, 30_000), (30_000, 10**9)])
def test_a_save_that_dies_leaves_one_set_or_none(folder, tmp_path, monkeypatch, old, new):
    """However many renames are done: the old values, the new values, or a loud error, never a mixture."""
    model, target = catalog.load(folder), tmp_path / "target"
    first = values(folder)
    replace, outcomes = os.replace, set()

    class Killed(BaseException):
        pass

    for allowed in range(12):
        catalog.save(catalog.load(folder), target, shard_bytes=old)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        second, done = {n: v.clone() for n, v in model.state_dict().items()}, []

        def some(source, destination, allowed=allowed, done=done):
            done.append(destination)
            if len(done) > allowed:
                raise Killed
            replace(source, destination)

        monkeypatch.setattr(writers.os, "replace", some)
        try:
            writers.write_safetensors(target, catalog.saving.published_tensors(model), new)
        except Killed:
            pass
        finally:
            monkeypatch.undo()
        try:
            got = values(target)
            assert same(got, first) or same(got, second)
            outcomes.add("old" if same(got, first) else "new")
        except LoadError as error:
            assert "no weights here" in str(error)
    assert "new" in outcomes
