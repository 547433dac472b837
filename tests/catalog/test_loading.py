"""Loading is strict: whatever is wrong with a folder is said at once, by name, and nothing is loaded."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import catalog
from catalog import loading
from catalog.checkpoints.readers import open_folder
from catalog.errors import CatalogError, ConfigError, LoadError, SaveError, UnknownField, UnknownModel
from tests.support import golden

CASE = golden.Golden(golden.FOLDER / "bert" / "BertForSequenceClassification.json")


@pytest.fixture
def folder(tmp_path):
    return CASE.write(tmp_path / "model")


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def logits(model):
    with torch.no_grad():
        return model(**{k: v for k, v in CASE.inputs.items() if k != "labels"}).logits


def test_every_problem_is_listed_at_once(folder):
    def spoil(tensors):
        del tensors["bert.encoder.layer.1.output.dense.bias"]
        tensors["bert.embeddings.word_embeddings.weight"] = torch.zeros(120, 32)
        tensors["visual.proj"] = torch.zeros(3)

    rewrite(folder, spoil)
    with pytest.raises(LoadError) as error:
        catalog.load(folder)
    message = str(error.value)
    assert "3 problems" in message and "Nothing was loaded" in message and str(folder) in message
    assert (
        "missing     backbone.layers.1.mlp.down.bias  expected as bert.encoder.layer.1.output.dense.bias [37]"
        not in message
    )
    assert (
        "missing     backbone.layers.1.mlp.down.bias  expected as bert.encoder.layer.1.output.dense.bias [32]"
        in message
    )
    assert "file [120, 32]" in message and "model [99, 32]" in message
    assert "unexpected  visual.proj" in message


def test_a_new_head_is_allowed_by_name_and_starts_small(folder):
    rewrite(folder, lambda t: [t.pop(n) for n in ("classifier.weight", "classifier.bias")])
    with pytest.raises(LoadError, match=r"missing     out\.weight"):
        catalog.load(folder)
    model = catalog.load(folder, new=["out.*"])
    assert model.loaded.fresh == ["out.weight", "out.bias"]
    assert 0 < float(model.out.weight.detach().std()) < 0.05 and not model.out.bias.any()
    assert "2 new (out.weight, out.bias)" in loading.describe(model)


def test_another_head_leaves_the_first_ones_tensors(folder):
    model = catalog.load(folder, head="masked-lm", new=["transform.*", "out.bias"])
    assert set(model.loaded.left) == {
        "classifier.weight",
        "classifier.bias",
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    assert model.out.weight is model.backbone.embed.tokens.weight
    body = catalog.load(folder, head="backbone")
    assert torch.equal(body.embed.tokens.weight, model.out.weight)


def test_a_bare_backbone_file_serves_a_head(folder, tmp_path):
    catalog.save(catalog.load(folder, head="backbone"), tmp_path / "bare")
    assert "embeddings.word_embeddings.weight" in open_folder(tmp_path / "bare").shapes()
    model = catalog.load(tmp_path / "bare", head="sequence-classification", new=["out.*"])
    assert torch.equal(model.backbone.pool.dense.weight, catalog.load(folder).backbone.pool.dense.weight)


def test_old_spelling_is_read(folder):
    want = logits(catalog.load(folder))

    def old(tensors):
        for name in list(tensors):
            if "LayerNorm" in name:
                tensors[name.replace("weight", "gamma").replace("bias", "beta")] = tensors.pop(name)

    rewrite(folder, old)
    assert torch.equal(logits(catalog.load(folder)), want)


def test_pickles_of_weights_are_read_and_code_in_them_is_not(folder):
    want = logits(catalog.load(folder))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(logits(catalog.load(folder)), want)
    torch.save({"a": CASE}, folder / "pytorch_model.bin")
    with pytest.raises(LoadError, match="not a file of weights alone"):
        catalog.load(folder)


def test_the_files_type_is_kept_unless_another_is_asked_for(folder):
    rewrite(folder, lambda t: t.update({n: v.bfloat16() for n, v in t.items()}))
    assert {p.dtype for p in catalog.load(folder).parameters()} == {torch.bfloat16}
    assert {p.dtype for p in catalog.load(folder, dtype=torch.float32).parameters()} == {torch.float32}


def test_shards_are_written_and_read(folder, tmp_path):
    model = catalog.load(folder)
    catalog.save(model, tmp_path / "sharded", shard_bytes=20_000)
    index = json.loads((tmp_path / "sharded" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2 and not (tmp_path / "sharded" / "model.safetensors").exists()
    assert torch.equal(logits(catalog.load(tmp_path / "sharded")), logits(model))
    catalog.save(model, tmp_path / "sharded")
    assert not (tmp_path / "sharded" / "model.safetensors.index.json").exists()
    index["weight_map"]["x"] = "../outside.safetensors"
    (tmp_path / "sharded" / "model.safetensors").unlink()
    (tmp_path / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LoadError, match="leaves the folder"):
        catalog.load(tmp_path / "sharded")


def test_a_truncated_file_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LoadError, match="not a whole safetensors file"):
        catalog.load(folder)


def test_copies_that_differ_are_refused(tmp_path):
    case = golden.Golden(golden.FOLDER / "bert" / "BertForMaskedLM.json")
    folder = case.write(tmp_path / "model")
    shared = case.weights["bert.embeddings.word_embeddings.weight"]
    rewrite(folder, lambda t: t.update({"cls.predictions.decoder.weight": shared.clone()}))
    catalog.load(folder)
    rewrite(folder, lambda t: t.update({"cls.predictions.decoder.weight": shared + 1}))
    with pytest.raises(LoadError, match="one in this model differ"):
        catalog.load(folder)
    published = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(published))
    model = catalog.load(folder)
    assert torch.equal(model.out.weight, shared + 1)


def test_configs_that_lie_are_answered(folder):
    published = json.loads((folder / "config.json").read_text())

    def write(**change):
        (folder / "config.json").write_text(json.dumps({**published, **change}))

    write(hiden_size=64)
    with pytest.raises(ConfigError, match=r"unknown key 'hiden_size'.*did you mean 'hidden_size'"):
        catalog.load(folder)
    write(position_embedding_type="relative_key")
    with pytest.raises(ConfigError, match="it has 'absolute'"):
        catalog.load(folder)
    write(model_type="bart")
    with pytest.raises(CatalogError):
        catalog.load(folder)
    write(hidden_size="wide")
    with pytest.raises(ConfigError, match="is not int"):
        catalog.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        catalog.load(folder)


def test_names_that_are_not_there_are_answered(tmp_path):
    with pytest.raises(UnknownModel, match="'bert'"):
        catalog.build("brt")
    with pytest.raises(UnknownField, match="did you mean 'depth'"):
        catalog.config("bert", dept=3)
    with pytest.raises(UnknownModel, match="masked-lm"):
        catalog.build("bert", head="masked")
    with pytest.raises(LoadError, match="no such folder"):
        catalog.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"config\.json"):
        catalog.load(tmp_path / "empty")


def test_a_full_disk_leaves_the_old_folder_whole(folder, tmp_path):
    import resource

    model = catalog.load(folder)
    before = logits(model)
    catalog.save(model, tmp_path / "saved")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with torch.no_grad():
            model.out.bias += 1
        with pytest.raises(SaveError, match="nothing was replaced"):
            catalog.save(model, tmp_path / "saved")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert torch.equal(logits(catalog.load(tmp_path / "saved")), before)
    assert not list((tmp_path / "saved").glob(".*"))


def test_labels_and_kept_fields_survive(folder, tmp_path):
    model = catalog.load(folder)
    published = json.loads((catalog.save(model, tmp_path / "saved") / "config.json").read_text())
    original = json.loads((folder / "config.json").read_text())
    assert {k: published[k] for k in original} == original
    shutil.rmtree(tmp_path / "saved")
