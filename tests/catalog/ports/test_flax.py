"""The Flax face: native objects, optional inputs, decoding, training, files, and what is said when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import catalog
from catalog.checkpoints import msgpack
from catalog.errors import LoadError, MissingExtra, PortError
from catalog.ports import store
from tests.support import golden

pytest.importorskip("flax")

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from catalog.ports.flax import Frozen


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def case_of(name):
    return golden.Golden(golden.FOLDER / f"{name}.json")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder of a masked language model."""
    return case_of("bert/BertForMaskedLM").write(tmp_path_factory.mktemp("bert") / "published")


@pytest.fixture
def port(bert):
    return catalog.load(bert, framework="flax")


IDS = np.array([[5, 9, 2, 17, 3], [8, 1, 4, 6, 7]])
REAL = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])


def test_the_tree_is_the_pages_in_flaxs_layout(port):
    kernel = port.backbone.layers[0].mlp.up.kernel
    assert type(kernel) is nnx.Param and kernel.shape == (32, 37)
    assert port.backbone.embed.tokens.embedding.shape == (99, 32)
    assert port.backbone.layers[1].norm2.scale.shape == (32,)
    assert len(port.backbone.layers) == 2
    assert port.out.embedding is port.backbone.embed.tokens.embedding
    leaves = jax.tree.leaves(nnx.state(port, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == case_of("bert/BertForMaskedLM").data["num_parameters"]


def test_optional_inputs_each_have_their_program(port, bert):
    model = catalog.load(bert)
    for given in ({}, {"attention_mask": REAL}, {"attention_mask": REAL, "labels": IDS}):
        out = port(IDS, **given)
        with torch.no_grad():
            wanted = model(torch.tensor(IDS), **{n: torch.tensor(v) for n, v in given.items()})
        np.testing.assert_allclose(out.logits, wanted.logits, atol=1e-5)
        assert (out.loss is None) == ("labels" not in given) == ("loss" not in out)
    assert len(port.blueprint.programs) == 3
    port(IDS[:1, :3])
    assert len(port.blueprint.programs) == 3


def test_hidden_states_and_attentions(port, bert):
    out = port(IDS, output_hidden_states=True, output_attentions=True)
    with torch.no_grad():
        wanted = catalog.load(bert)(torch.tensor(IDS), output_hidden_states=True, output_attentions=True)
    for got, expected in zip(out.hidden_states + out.attentions, wanted.hidden_states + wanted.attentions, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_decoder_generates_with_its_cache(tmp_path):
    folder = case_of("gpt2/GPT2LMHeadModel").write(tmp_path / "published")
    model, port = catalog.load(folder), catalog.load(folder, framework="flax")
    ids = np.array([[5, 9, 2], [8, 1, 4]])

    def greedy(call, concatenate):
        out = call(input_ids=ids, use_cache=True)
        found = [np.asarray(out.logits[:, -1]).argmax(-1)]
        for _ in range(4):
            out = call(input_ids=found[-1][:, None], past_key_values=out.past_key_values, use_cache=True)
            found.append(np.asarray(out.logits[:, -1]).argmax(-1))
        return np.stack(found, 1), out

    def in_torch(input_ids, **more):
        with torch.no_grad():
            return model(input_ids=torch.tensor(input_ids), **more)

    (got, last), (wanted, expected) = greedy(port, np.concatenate), greedy(in_torch, torch.cat)
    assert got.tolist() == wanted.tolist()
    np.testing.assert_allclose(last.past_key_values[1][0], expected.past_key_values[1][0], atol=1e-5)
    assert len(port.blueprint.programs) == 2, "one for the prompt, one for every further token"


def test_training_with_dropout_under_jit(bert):
    port = catalog.load(bert, framework="flax")
    optimizer = nnx.Optimizer(port, optax.adam(3e-3), wrt=nnx.Param)

    @nnx.jit
    def step(port, optimizer, rngs):
        loss, gradients = nnx.value_and_grad(lambda p, r: p(IDS, REAL, labels=IDS, train=True, rngs=r).loss)(port, rngs)
        optimizer.update(port, gradients)
        return loss

    rngs = nnx.Rngs(0)
    losses = [float(step(port, optimizer, rngs)) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]
    assert port.out.embedding is port.backbone.embed.tokens.embedding


def test_dropout_draws_from_the_key_alone(port):
    def logits(seed):
        return np.asarray(port(IDS, train=True, rngs=nnx.Rngs(seed)).logits)

    assert np.array_equal(logits(0), logits(0)) and not np.array_equal(logits(0), logits(1))
    assert not np.array_equal(logits(0), np.asarray(port(IDS).logits))
    with pytest.raises(PortError, match=r"pass rngs=nnx.Rngs\(seed\)"):
        port(IDS, train=True)


def test_layers_draw_apart(port):
    port(IDS, train=True, rngs=nnx.Rngs(0))
    program = next(p for p in port.blueprint.programs.values() if p.train)
    stack = next(g for g in program.graphs.values() if g.module == "Stack")
    assert stack.random and len({node.path for node in stack.nodes}) == 2


def test_bf16_follows_the_parameters(bert):
    port = catalog.load(bert, framework="flax", dtype="bfloat16")
    assert port.backbone.layers[0].attn.q.kernel.dtype == jnp.bfloat16
    out = port(IDS, REAL).logits
    assert out.dtype == jnp.bfloat16
    with torch.no_grad():
        wanted = catalog.load(bert, dtype=torch.bfloat16)(torch.tensor(IDS), torch.tensor(REAL)).logits.float()
    assert float(np.abs(np.asarray(out, np.float32) - wanted.numpy()).max()) < 0.05 * float(wanted.abs().max())


def test_a_frozen_parameter_does_not_learn(bert):
    from catalog.ports import export
    from catalog.ports.flax import Port

    model = catalog.load(bert)
    model.backbone.layers[0].requires_grad_(False)
    port = Port(export.blueprint(model), export.values(model))
    assert type(port.backbone.layers[0].attn.q.kernel) is Frozen
    gradients = nnx.grad(lambda p: p(IDS, labels=IDS).loss)(port)
    names = port.named(gradients)
    assert not any(n.startswith("backbone.layers.0.") for n in names) and "backbone.layers.1.attn.q.weight" in names


def test_wrong_arguments_are_answered(port):
    with pytest.raises(PortError, match=r"no argument 'attention_maks'.*did you mean 'attention_mask'"):
        port(IDS, attention_maks=REAL)
    with pytest.raises(PortError, match="input_ids is given twice"):
        port(IDS, input_ids=IDS)
    with pytest.raises(AttributeError, match="no output 'logit'"):
        _ = port(IDS).logit


def test_saved_with_its_programs_it_runs_without_pytorch(port, tmp_path):
    wanted = np.asarray(port(IDS, REAL).logits)
    folder = catalog.save(port, tmp_path / "saved")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, catalog\n"
        f"port = catalog.load({str(folder)!r}, framework='flax')\n"
        f"out = port(np.array({IDS.tolist()}), np.array({REAL.tolist()})).logits\n"
        f"np.save({str(tmp_path / 'out.npy')!r}, out)\n"
        "try: port(np.array([[1]]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    root = Path(catalog.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy"), wanted)
    assert "MissingExtra" in done.stdout and "(input_ids)" in done.stdout


def test_every_problem_of_a_file_is_listed_at_once(port, tmp_path):
    folder = catalog.save(port, tmp_path / "saved")
    arrays = msgpack.read(folder / msgpack.NAME)
    del arrays["cls/predictions/bias"]
    arrays["bert/extra/kernel"] = np.zeros((2, 2), np.float32)
    name = "bert/encoder/layer/0/attention/self/query/kernel"
    arrays[name] = arrays[name][:, :5]
    msgpack.write(folder / msgpack.NAME, arrays)
    for programs in (True, False):  # beside port.json, and read through the page
        if not programs:
            (folder / "port.json").unlink()
        with pytest.raises(LoadError, match="Nothing was loaded") as error:
            catalog.load(folder, framework="flax")
        for words in ("missing", "unexpected", "shape", "predictions", "extra", "query" if programs else "attn.q"):
            assert words in str(error.value)


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_truncated_files_are_refused(port, tmp_path, size):
    folder = catalog.save(port, tmp_path / "saved")
    file = folder / msgpack.NAME
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(LoadError, match="not a whole msgpack file"):
        catalog.load(folder, framework="flax")


class _Trap:
    def __reduce__(self):
        return (os.system, ("exit 1",))


def test_a_pickle_inside_msgpack_is_never_executed(bert, tmp_path):
    import pickle

    import msgpack as package

    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "config.json").write_text((bert / "config.json").read_text())
    file = folder / msgpack.NAME
    for content in (
        package.ExtType(5, pickle.dumps(_Trap())),
        package.ExtType(1, package.packb(((1,), "object", pickle.dumps(_Trap())))),
        pickle.dumps(_Trap()),
    ):
        file.write_bytes(package.packb({"bert": {"kernel": content}}))
        with pytest.raises(LoadError, match=str(file)):
            catalog.load(folder, framework="flax")


def test_a_damaged_port_file_is_named(port, tmp_path):
    port(IDS)
    folder = catalog.save(port, tmp_path / "saved")
    data = json.loads((folder / "port.json").read_text())
    for broken in ("{", json.dumps(data | {"version": 99}), json.dumps({**data, "leaves": {"a": [1]}})):
        (folder / "port.json").write_text(broken)
        with pytest.raises(PortError, match=r"port\.json"):
            catalog.load(folder, framework="flax")


def test_what_is_not_installed_is_named(bert, monkeypatch):
    monkeypatch.setattr(store, "find_spec", lambda name: None if name == "flax" else object())
    with pytest.raises(MissingExtra, match=r'needs flax: pip install "trivium\[flax\]"'):
        catalog.load(bert, framework="flax")
    with pytest.raises(LoadError, match="no framework 'jaxx'; there are torch, flax, tf"):
        catalog.load(bert, framework="jaxx")


def test_a_head_is_chosen_and_started_anew(bert):
    port = catalog.load(bert, "sequence-classification", framework="flax", new=["out.*", "backbone.pool.*"])
    assert port(IDS).logits.shape == (2, 3)


def test_large_arrays_are_stored_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(msgpack, "_CHUNK", 64)
    arrays = {"a/b": np.arange(60, dtype=np.float32).reshape(3, 20), "a/c": np.float32([1.0])}
    msgpack.write(tmp_path / "x", arrays)
    from flax.serialization import msgpack_restore

    theirs = msgpack_restore((tmp_path / "x").read_bytes())
    ours = msgpack.read(tmp_path / "x")
    assert np.array_equal(theirs["a"]["b"], arrays["a/b"]) and np.array_equal(ours["a/b"], arrays["a/b"])
    assert np.array_equal(ours["a/c"], arrays["a/c"])


@pytest.mark.parametrize(
    "name", ["bert/BertForPreTraining", "gpt2/GPT2LMHeadModel", "resnet/ResNetForImageClassification@bottleneck"]
)
def test_convert_there_and_back(name, tmp_path, capsys):
    from catalog.__main__ import main

    case = case_of(name)
    folder = case.write(tmp_path / "published")
    assert main(["convert", str(folder), str(tmp_path / "flax"), "--to", "flax"]) == 0
    assert "written to" in capsys.readouterr().out
    got = {n: list(a.shape) for n, a in msgpack.read(tmp_path / "flax" / msgpack.NAME).items()}
    assert got == dict(map(tuple, case.data["flax_names"]))
    assert main(["convert", str(tmp_path / "flax"), str(tmp_path / "torch"), "--to", "torch"]) == 0
    one, other = catalog.load(tmp_path / "torch").state_dict(), catalog.load(folder).state_dict()
    assert all(torch.equal(one[n], other[n]) for n in other if not n.endswith("num_batches_tracked"))
    assert main(["convert", str(folder), str(tmp_path / "x"), "--to", "jax"]) == 3
    assert "no framework 'jax'" in capsys.readouterr().err
