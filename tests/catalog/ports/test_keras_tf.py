"""What a Keras model must do beside being right: fit, tf.data, XLA, a SavedModel alone, refusals in words."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import catalog
from catalog.errors import LoadError, PortError
from catalog.ports import export
from tests.support import ports

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from catalog.ports.keras import Port

pytestmark = pytest.mark.xdist_group("tensorflow")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Programs are kept in a folder of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bert():
    case = next(c for c in ports.CASES if c.data["class"] == "BertForSequenceClassification")
    return case, ports.torch_model(case)


def _port(model):
    return Port(export.blueprint(model), export.values(model))


def _texts(count=8, length=6, seed=0):
    ids = np.random.default_rng(seed).integers(5, 90, (count, length)).astype(np.int32)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_fit_from_tf_data_and_back_in_pytorch(bert, tmp_path):
    port = _port(bert[1])
    texts = _texts(16)
    texts["labels"] = (texts["input_ids"][:, 0] % 2).astype(np.int32)
    data = tf.data.Dataset.from_tensor_slices(texts).batch(4)
    port.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    losses = port.fit(data, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    back = catalog.load(catalog.save(port, tmp_path / "fit"))
    given = _texts(3, 5, seed=1)
    with torch.no_grad():
        wanted = back(**{n: torch.from_numpy(v).long() for n, v in given.items()}).logits.numpy()
    np.testing.assert_allclose(port(given)["logits"].numpy(), wanted, atol=1e-5)


def test_tree_names_and_kinds(bert):
    port = _port(bert[1])
    q = port.backbone.layers[0].attn.q.kernel
    assert isinstance(q, keras.Variable) and isinstance(port, keras.Model)
    assert q.path == "tf_bert_for_sequence_classification/bert/encoder/layer_._0/attention/self/query/kernel"
    weight = bert[1].backbone.layers[0].attn.q.weight.detach().numpy()
    np.testing.assert_array_equal(q.numpy(), weight.T)
    wanted = {n.removesuffix(":0"): s for n, s in bert[0].data["tf_names"]}
    assert {v.path: list(v.shape) for v in port.weights} == wanted


def test_xla_is_the_same(bert):
    port, given = _port(bert[1]), _texts()
    fast = tf.function(lambda one: port(one)["logits"], jit_compile=True)
    given = {n: tf.constant(v) for n, v in given.items()}
    np.testing.assert_allclose(fast(given).numpy(), port(given)["logits"].numpy(), atol=1e-5)


def test_dropout_draws_anew_and_keeps_the_mean(bert):
    model = bert[1]
    config = export.blueprint(model).config | {"hidden_dropout_prob": 0.25}
    blueprint = export.blueprint(model)
    blueprint.config = config
    port, given = Port(blueprint, export.values(model)), _texts(2)
    first, second = (port(given, training=True)["logits"].numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    still = port(given)["logits"].numpy()
    assert np.array_equal(still, port(given, training=False)["logits"].numpy())
    assert not np.array_equal(still, first)


LOADED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "jax", "flax"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import numpy as np, tensorflow as tf
folder, kind = sys.argv[1:]
ids = np.arange(6, 18, dtype=np.int32).reshape(2, 6)
if kind == "saved":
    loaded = tf.saved_model.load(folder)
    out = loaded.serve(tf.constant(ids), tf.ones_like(ids))["logits"]
else:
    import catalog
    out = catalog.load(folder, framework="tf")({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"]
np.save(folder + ".npy", out.numpy())
"""


@pytest.mark.parametrize("kind", ["saved", "port"])
def test_runs_where_pytorch_and_jax_are_not(bert, tmp_path, kind):
    port = _port(bert[1])
    ids = np.arange(6, 18, dtype=np.int32).reshape(2, 6)
    wanted = port({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"].numpy()
    folder = tmp_path / kind
    if kind == "port":
        catalog.save(port, folder)
    else:
        spec = tf.TensorSpec([None, None], tf.int32)
        module = tf.Module()
        module.model_variables = [v.value for v in port.variables]
        module.serve = tf.function(
            lambda ids, mask: port({"input_ids": ids, "attention_mask": mask}), input_signature=[spec, spec]
        )
        tf.saved_model.save(module, folder)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(folder), kind], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(f"{folder}.npy"), wanted, atol=1e-6)


def test_arguments_are_refused_in_words(bert):
    port = _port(bert[1])
    with pytest.raises(PortError, match=r"takes no argument 'input_idz'.*input_ids"):
        port.call({"input_idz": np.zeros((1, 2), np.int32)})
    with pytest.raises(PortError, match=r"takes .* arguments, not"):
        port.call([np.zeros((1, 2), np.int32)] * 40)


def test_files_that_do_not_fit_list_everything(bert, tmp_path):
    import h5py

    folder = catalog.save(_port(bert[1]), tmp_path / "broken")
    file = folder / "tf_model.h5"
    whole = file.read_bytes()
    with h5py.File(file, "a") as opened:
        names = [n.decode() for n in opened["bert"].attrs["weight_names"]]
        gone = names.pop(0)
        opened["bert"].attrs["weight_names"] = np.array([n.encode() for n in names] + [b"tf/bert/stranger:0"])
        opened["bert"].create_dataset("tf/bert/stranger:0", data=np.zeros(3, np.float32))
    with pytest.raises(LoadError) as failed:
        catalog.load(folder, framework="tf")
    assert "missing" in str(failed.value) and gone.removesuffix(":0") in str(failed.value)
    assert "unexpected" in str(failed.value) and "stranger" in str(failed.value)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LoadError, match="not a whole HDF5 file"):
        catalog.load(folder, framework="tf")
    with h5py.File(file, "w") as opened:
        opened["x"] = [1.0]
    with pytest.raises(LoadError, match="no layer_names"):
        catalog.load(folder, framework="tf")


def test_links_out_of_a_file_are_not_followed(tmp_path):
    import h5py

    from catalog.checkpoints import h5

    h5.write(tmp_path / "secret.h5", {"tf/bert/w": np.ones(3, np.float32)})
    h5.write(tmp_path / "tf_model.h5", {"tf/bert/w": np.ones(3, np.float32)})
    with h5py.File(tmp_path / "tf_model.h5", "a") as file:
        del file["bert/tf/bert/w:0"]
        file["bert/tf/bert/w:0"] = h5py.ExternalLink("secret.h5", "bert/tf/bert/w:0")
    with pytest.raises(LoadError, match="a link"):
        h5.read(tmp_path / "tf_model.h5")


def test_many_names_fit_their_attributes(tmp_path):
    from catalog.checkpoints import h5

    arrays = {f"tf/layer{i:05}/{'w' * 40}": np.full(1, i, np.float32) for i in range(2500)}
    h5.write(tmp_path / "tf_model.h5", arrays)
    found = h5.read(tmp_path / "tf_model.h5")
    assert found.keys() == arrays.keys() and all(found[n] == a for n, a in arrays.items())


def test_converting_there_and_back(bert, tmp_path):
    source = ports.folder(bert[0].path)
    catalog.convert(source, tmp_path / "tf", "tf")
    line = catalog.convert(tmp_path / "tf", tmp_path / "torch", "torch")
    assert "tensors of bert" in line
    state, again = bert[1].state_dict(), catalog.load(tmp_path / "torch").state_dict()
    assert all(torch.equal(state[n], again[n]) for n in state)
