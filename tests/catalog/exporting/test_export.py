"""Exports alone: each format where nothing of ours is, what is written beside the model, refusals in words."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import catalog
from catalog.errors import ConfigError, MissingExtra, PortError, SaveError
from catalog.exporting import export as door
from catalog.exporting.sample import example, sample
from catalog.ports import parity
from tests.support import ports

LABELS = ("bad", "fair", "good")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Programs are kept in a folder of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bert():
    config = catalog.config(
        "bert", vocab=60, width=16, depth=1, heads=2, hidden=32, positions=32, segments=1, labels=LABELS
    )
    return catalog.build("bert", config, head="sequence-classification", seed=0).eval()


@pytest.fixture(scope="module")
def gpt2():
    config = catalog.config("gpt2", vocab=60, width=16, depth=2, heads=2, positions=32)
    return catalog.build("gpt2", config, head="causal-lm", seed=0).eval()


def _texts(count=5, length=11):
    ids = torch.from_numpy(np.random.default_rng(1).integers(5, 60, (count, length)))
    mask = torch.ones_like(ids)
    mask[1, -4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _facts(path):
    return json.loads(path.with_name(path.name + ".json").read_text())


def test_what_stands_beside_the_file(bert, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnx

    path = catalog.export(bert, tmp_path / "deep" / "model.onnx")
    facts = _facts(path)
    assert facts["difference"] <= 1e-5 and facts["class"] == "BertForSequenceClassification"
    assert facts["inputs"] == [
        {"name": name, "dtype": "int64", "shape": ["batch", "length"]} for name in ("attention_mask", "input_ids")
    ]
    assert facts["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 3]}]
    assert facts["labels"] == list(LABELS)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    held = {entry.key: entry.value for entry in made.metadata_props}
    assert json.loads(held["labels"]) == list(LABELS) and held["head"] == "sequence-classification"
    assert b"exporting" not in path.read_bytes(), "the file tells where ours stand on this machine"
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "model.onnx.json"]
    assert "logits  float32 [batch, 3]" in door.described(path)


def test_a_step_with_a_cache(gpt2, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    ids = _texts(3, 7)["input_ids"]
    with torch.no_grad():
        past = gpt2(ids[:2, :6], use_cache=True).past_key_values
        longer = gpt2(ids, use_cache=True).past_key_values
        wanted = gpt2(ids[:, :1], past_key_values=longer).logits.numpy()
    given = {"input_ids": ids[:2, 6:], "past_key_values": past, "use_cache": True}
    path = catalog.export(gpt2, tmp_path / "step.onnx", inputs=given)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays = {f"past_key_values.{i}.{j}": longer[i][j].numpy() for i in range(2) for j in range(2)}
    got = session.run(["logits"], arrays | {"input_ids": ids[:, :1].numpy()})[0]
    assert parity.difference(got, wanted, "logits") <= 1e-4
    assert _facts(path)["inputs"][1]["shape"] == ["batch", 2, "past", 8]


@pytest.mark.parametrize("kind", ["BertForTokenClassification", "GPT2LMHeadModel", "ResNetModel"])
def test_stablehlo(kind, tmp_path):
    pytest.importorskip("flax")
    from catalog.ports import stablehlo

    model = ports.torch_model(next(case for case in ports.CASES if case.data["class"] == kind))
    given = example(model, (32, 32))
    serve = stablehlo.load(catalog.export(model, tmp_path / "model.stablehlo", "stablehlo", inputs=given))
    _same(model, lambda arrays: serve(arrays), ports.larger(ports.larger(given)))


@pytest.mark.parametrize("kind", ["CLIPModel", "T5ForConditionalGeneration"])
def test_savedmodel(kind, tmp_path):
    tf = pytest.importorskip("tensorflow")
    model = ports.torch_model(next(case for case in ports.CASES if case.data["class"] == kind))
    folder = catalog.export(model, tmp_path / "saved", "savedmodel")
    loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]
    given = ports.larger(ports.larger(example(model)))
    _same(model, lambda arrays: serve(**{n: tf.constant(a) for n, a in arrays.items()}), given)
    facts = json.loads((folder / "assets.extra" / "export.json").read_text())
    assert {one["name"] for one in facts["inputs"]} == given.keys()


def _same(model, run, given):
    with torch.no_grad():
        wanted = parity.flat(model(**given))
    got = run({name: tensor.numpy() for name, tensor in given.items()})
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert parity.difference(np.asarray(got[name]), tensor.numpy(), name) <= 1e-4


# What serves each format, in a process that can import nothing of ours and none of the other frameworks.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
import numpy as np
path, arrays = sys.argv[1], dict(np.load(sys.argv[2]))
"""
SERVED = {
    "onnx": (
        "import onnxruntime\nsession = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])\n"
        "logits = session.run(['logits'], arrays)[0]"
    ),
    "torchscript": (
        "import torch\nfiles = {'export.json': ''}\nmodel = torch.jit.load(path, _extra_files=files)\n"
        "import json; assert json.loads(files['export.json'])['labels'] == ['bad', 'fair', 'good']\n"
        "logits = model({name: torch.from_numpy(a) for name, a in arrays.items()})['logits'].detach().numpy()"
    ),
    "savedmodel": (
        "import tensorflow as tf\nmodel = tf.saved_model.load(path)\n"
        "serve = model.signatures['serving_default']\n"
        "logits = serve(**{name: tf.constant(a) for name, a in arrays.items()})['logits'].numpy()"
    ),
    "stablehlo": (
        "from jax import export\nmodel = export.deserialize(bytearray(open(path, 'rb').read()))\n"
        "logits = np.asarray(model.call(arrays)['logits'])"
    ),
}
OWN = {"onnx": "onnxruntime", "torchscript": "torch", "savedmodel": "tensorflow", "stablehlo": "jax"}


@pytest.mark.parametrize("format", door.FORMATS)
def test_runs_where_the_catalog_is_not(format, bert, tmp_path):
    pytest.importorskip(OWN[format])
    path, given = catalog.export(bert, tmp_path / "model", format), _texts()
    np.savez(tmp_path / "inputs.npz", **{name: tensor.numpy() for name, tensor in given.items()})
    blocked = {"catalog", "trainer", "torch", "jax", "flax", "tensorflow", "keras"} - {OWN[format]}
    blocked -= {"keras"} if format == "savedmodel" else set()  # TensorFlow itself imports it
    code = BLOCK.format(blocked=blocked) + SERVED[format] + "\nnp.save(sys.argv[3], logits)"
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "inputs.npz", tmp_path / "logits.npy"],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with torch.no_grad():
        wanted = bert(**given).logits.numpy()
    assert parity.difference(np.load(tmp_path / "logits.npy"), wanted, "logits") <= 1e-4


def test_a_port_is_exported_in_its_own_framework(bert, tmp_path):
    pytest.importorskip("flax")
    from catalog.ports import stablehlo

    port = catalog.load(catalog.save(bert, tmp_path / "bert"), framework="flax")
    serve = stablehlo.load(catalog.export(port, tmp_path / "model.stablehlo", "stablehlo"))
    _same(bert, lambda arrays: serve(arrays), _texts())
    with pytest.raises(PortError, match=r"onnx is written from a PyTorch model; save this one with"):
        catalog.export(port, tmp_path / "model.onnx")


class Bessel(nn.Module):
    """A linear layer and an op that few formats have."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.special.bessel_j0(self.inner(x))


class Fixed(nn.Module):
    """A constant of the length that it was traced with, whatever the length."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * torch.linspace(1.0, 2.0, len(x[0].tolist()) if x.dim() > 2 else 1)[:, None]


def _with(kind):
    config = catalog.config("gpt2", vocab=60, width=16, depth=1, heads=2, positions=32)
    model = catalog.build("gpt2", config, head="causal-lm", seed=0).eval()
    model.backbone.layers[0].mlp = kind(model.backbone.layers[0].mlp)
    return model


def test_an_op_that_onnx_lacks_is_named_with_its_module(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(
        PortError, match=r"gpt2 with causal-lm .*'backbone\.layers\.0\.mlp' uses aten\.special_bessel_j0"
    ):
        catalog.export(_with(Bessel), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_size_that_tracing_fixed_is_found(tmp_path):
    (tmp_path / "model.pt").write_text("what stood here")
    with pytest.raises(PortError, match=r"gpt2 with causal-lm as torchscript: .* with attention_mask \[1, 9\]"):
        catalog.export(_with(Fixed), tmp_path / "model.pt", "torchscript")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.pt", "what stood here")]


def test_a_numerical_difference_is_refused(bert, tmp_path, monkeypatch):
    from catalog.exporting import torchscript

    opened = torchscript.opened
    off = lambda path: lambda arrays: {n: a + 0.01 for n, a in opened(path)(arrays).items()}  # noqa: E731
    monkeypatch.setattr(torchscript, "opened", off)
    with pytest.raises(PortError, match=r"output 'logits' is off by .* allowed 0\.0001"):
        catalog.export(bert, tmp_path / "model.pt", "torchscript")
    assert not list(tmp_path.iterdir())


def test_targets(bert, tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("what stood here")
    (tmp_path / "model.pt.data").write_text("weights of what stood here")
    catalog.export(bert, path, "torchscript")
    assert torch.jit.load(path) and sorted(f.name for f in tmp_path.iterdir()) == ["model.pt", "model.pt.json"]
    with pytest.raises(SaveError, match="is a folder, and onnx is a file"):
        catalog.export(bert, tmp_path)
    with pytest.raises(SaveError, match="cannot be written"):
        catalog.export(bert, path / "below" / "model.pt", "torchscript")
    assert torch.jit.load(path)


def test_a_folder_is_replaced_only_where_it_is_a_savedmodel(tmp_path):
    pytest.importorskip("tensorflow")
    door._check_target(tmp_path / "new", "savedmodel")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SaveError, match="holds other files than a SavedModel's"):
        catalog.export("nowhere", tmp_path, "savedmodel")
    with pytest.raises(SaveError, match="is a file, and a SavedModel is a folder"):
        catalog.export("nowhere", tmp_path / "notes.txt", "savedmodel")
    (tmp_path / "saved_model.pb").write_text("")
    door._check_target(tmp_path, "savedmodel")


def test_arguments_are_refused_in_words(bert, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no format 'onxx'; did you mean 'onnx'"):
        catalog.export(bert, tmp_path / "m", "onxx")
    with pytest.raises(ConfigError, match="head and dtype are for a folder"):
        catalog.export(bert, tmp_path / "m", "torchscript", head="masked-lm")
    with pytest.raises(ConfigError, match="inputs and image both"):
        catalog.export(bert, tmp_path / "m", "torchscript", inputs={}, image=(32, 32))
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    for format, extra in (("onnx", "export"), ("savedmodel", "tf"), ("stablehlo", "flax")):
        with pytest.raises(MissingExtra, match=rf'pip install "trivium\[{extra}\]"'):
            catalog.export(bert, tmp_path / "m", format)
    assert not list(tmp_path.iterdir())


def test_an_input_that_no_example_is_known_of_is_asked_for(bert):
    class Other(nn.Module):
        name, head, config = "other", None, bert.config

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, input_ids, bbox):
            return {"y": self.weight * bbox}

    with pytest.raises(ConfigError, match=r"other: no example is known of bbox; .*inputs="):
        example(Other())


def test_a_batch_of_one_leaves_the_batch_open(bert):
    ids = np.array([[5, 6, 7, 8]])
    taken = sample(bert, {"input_ids": ids})
    assert taken.axes == {"input_ids": ("batch", "length")} and taken.tensors["input_ids"].shape == (2, 4)
    assert [tuple(taken.resized(n)["input_ids"].shape) for n in (0, 1)] == [(1, 7), (3, 5)]
