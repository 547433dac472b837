"""Adapters: peft's own numbers and names, what learns, bases in few bits, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file

import catalog
from catalog import adapters
from catalog.errors import ConfigError, LoadError, SaveError
from catalog.layers import quantised
from catalog.layers.lora import Adapted
from tests.support.golden import FOLDER, Golden, uniform

GOLDEN = json.loads((FOLDER / "adapters.json").read_text())["cases"]
IDS = torch.arange(24).view(2, 12) % 50
SMALL = {"vocab": 50, "width": 32, "depth": 2, "heads": 2, "hidden": 64}


def bert(head="sequence-classification", **kw):
    return catalog.build("bert", catalog.config("bert", **SMALL, **kw), head=head, seed=0).eval()


def drawn(model):
    """The adapters and what learns as a whole, by the formula of the golden file."""
    with torch.no_grad():
        for path, layer in adapters.adapted(model).items():
            layer.lora_a.copy_(torch.from_numpy(uniform("adapters", f"{path}.a", layer.lora_a.shape)))
            layer.lora_b.copy_(torch.from_numpy(uniform("adapters", f"{path}.b", layer.lora_b.shape)))
        for name, p in model.named_parameters():
            if p.requires_grad and "lora_" not in name:
                p.add_(torch.from_numpy(uniform("adapters", name, p.shape)))
    return model


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_and_files_are_those_of_peft(name, tmp_path):
    case = GOLDEN[name]
    base = Golden(FOLDER / f"{name}.json").write(tmp_path / "base")
    model = catalog.load(base)
    adapters.add(model, case["targets"], rank=case["rank"], alpha=case["alpha"])
    drawn(model)
    inputs = {key: torch.tensor(values) for key, values in case["inputs"].items()}
    want = torch.tensor(case["logits"])
    with torch.no_grad():
        got = model(**inputs).logits
    assert list(got.shape) == case["shape"]
    torch.testing.assert_close(got.flatten()[: len(want)], want, rtol=1e-4, atol=1e-4)

    folder = adapters.save(model, tmp_path / "adapter", base="base")
    written = json.loads((folder / "adapter_config.json").read_text())
    for key, value in case["config"].items():
        mine = sorted(written[key]) if isinstance(written[key], list) else written[key]
        assert mine == (sorted({*value} - {"score"}) if key == "modules_to_save" and value else value), key
    tensors = load_file(folder / "adapter_model.safetensors")
    assert {key: list(t.shape) for key, t in tensors.items()} == case["tensors"]
    again = adapters.load(catalog.load(base), folder)
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, got, rtol=0, atol=0)
        torch.testing.assert_close(adapters.merge(again)(**inputs).logits, got, rtol=1e-4, atol=1e-4)
    catalog.save(again, tmp_path / "merged")
    with torch.no_grad():
        merged = catalog.load(tmp_path / "merged")
        torch.testing.assert_close(merged(**inputs).logits, again(**inputs).logits, rtol=0, atol=0)


def test_adapters_and_a_new_head_learn_and_nothing_else():
    model = bert()
    plain = model(IDS).logits
    names = set(model.state_dict())
    paths = adapters.add(model, rank=2, alpha=4)
    assert paths == [f"backbone.layers.{i}.attn.{x}" for i in (0, 1) for x in "qv"]
    assert torch.equal(model(IDS).logits, plain), "at first an adapter adds nothing"
    assert names < set(model.state_dict()), "the base keeps its names"
    model(IDS, labels=torch.tensor([0, 1])).loss.backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {f"{p}.lora_{x}" for p in paths for x in "ab"} | {"out.weight", "out.bias"}


def test_what_learns_as_a_whole_can_be_named_and_a_vocabulary_stays():
    lm = bert("masked-lm")
    adapters.add(lm)
    assert all("lora_" in name for name, p in lm.named_parameters() if p.requires_grad)
    named = bert()
    adapters.add(named, also=["backbone.pool.*"])
    whole = {name for name, p in named.named_parameters() if p.requires_grad and "lora_" not in name}
    assert whole == {"backbone.pool.dense.weight", "backbone.pool.dense.bias", "out.weight", "out.bias"}


def test_dropout_is_of_what_the_adapter_is_given():
    model = bert(dropout=0.0, attn_dropout=0.0)
    adapters.add(model, dropout=0.5)
    drawn(model)
    still = model(IDS).logits
    assert torch.equal(model(IDS).logits, still)
    model.train()
    assert not torch.allclose(model(IDS).logits, still)


@pytest.mark.parametrize(("form", "most"), [("int8", 0.01), ("nf4", 0.2)])
def test_a_base_in_few_bits(form, most):
    model = bert(dropout=0.0, attn_dropout=0.0)
    plain = model(IDS).logits
    held = {name: p.nbytes for name, p in model.named_parameters()}
    adapters.add(model, base=form, rank=2)
    off = (model(IDS).logits - plain).abs().max() / plain.abs().max()
    assert 0 < off < most
    block = model.backbone.layers[0]
    assert isinstance(block.attn.q, Adapted) and not isinstance(block.mlp.up, Adapted)
    before = held["backbone.layers.0.mlp.up.weight"]
    now = block.mlp.up.codes.nbytes + block.mlp.up.scales.nbytes
    assert now / before == pytest.approx({"int8": 1 / 4 + 1 / 32, "nf4": 1 / 8 + 1 / 64}[form])
    drawn(model)
    moved = model(IDS).logits
    merged = adapters.merge(model)
    torch.testing.assert_close(merged(IDS).logits, moved, rtol=1e-4, atol=1e-5)
    assert {p.dtype for p in merged.parameters()} == {torch.float32} and not merged.backbone.layers[0].mlp.up._buffers


def test_gradients_through_a_quantised_layer_are_those_of_its_values():
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 6).double()
    for form in quantised.FORMS:
        layer = quantised.QuantisedLinear(linear, form)
        x = torch.randn(3, 64, dtype=torch.float64, requires_grad=True)
        aims = torch.randn(3, 6, dtype=torch.float64)
        (layer(x) * aims).sum().backward()
        torch.testing.assert_close(x.grad, aims @ layer.dense().double(), rtol=1e-12, atol=1e-12)


def test_codes_say_the_nearest_value():
    torch.manual_seed(0)
    weight = torch.randn(32, 64)
    for form in quantised.FORMS:
        codes, scales = quantised.pack(weight, form)
        told = quantised.unpack(codes, scales, form, weight.shape)
        gap = 1 / 127 if form == "int8" else float(quantised.levels().diff().max())
        per = weight.abs().amax(1, keepdim=True)
        assert ((told - weight).abs() <= per * gap / 2 * 1.0001).all()
        again = quantised.unpack(*quantised.pack(told, form), form, weight.shape)
        torch.testing.assert_close(again, told, rtol=1e-6, atol=0)
    assert torch.isfinite(quantised.unpack(*quantised.pack(torch.zeros(2, 64), "nf4"), "nf4", (2, 64))).all()


def test_levels_are_the_published_ones():
    """Some of appendix E of arXiv:2305.14314."""
    found = quantised.levels().tolist()
    assert len(found) == 16 and found[0] == -1 and found[7] == 0 and found[15] == 1
    assert found[1] == pytest.approx(-0.6961928009986877, abs=1e-6)
    assert found[8] == pytest.approx(0.07958029955625534, abs=1e-6)
    assert found[14] == pytest.approx(0.7229568362236023, abs=1e-6)


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match=r"no linear layer of bert ends in 'attn.query'; there are .*attn\.q"):
        adapters.add(bert(), ["attn.query"])
    model = bert()
    adapters.add(model)
    with pytest.raises(ConfigError, match="has adapters already"):
        adapters.add(model)
    with pytest.raises(SaveError, match=r"4 layers have adapters .*catalog\.adapters\.merge"):
        catalog.save(model, tmp_path / "whole")
    with pytest.raises(SaveError, match="no adapters to save"):
        adapters.save(bert(), tmp_path / "none")
    folder = adapters.save(drawn(model), tmp_path / "adapter")
    with pytest.raises(LoadError, match=r"(?s)is not of bert with masked-lm.*classifier.*Nothing was loaded"):
        adapters.load(bert("masked-lm"), folder)
    with pytest.raises(LoadError, match="no whole adapter in peft's format"):
        adapters.load(bert(), tmp_path / "whole")
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "use_dora": True}))
    with pytest.raises(LoadError, match="DoRA"):
        adapters.load(bert(), folder)


def test_adapters_that_learnt_nothing_are_read_back(tmp_path):
    base = Golden(FOLDER / "gpt2" / "GPT2LMHeadModel.json").write(tmp_path / "base")
    model = catalog.load(base)
    adapters.add(model, rank=2)
    again = adapters.load(catalog.load(base), adapters.save(model, tmp_path / "adapter"))
    assert {path.rpartition(".")[2] for path in adapters.adapted(again)} == {"q", "k", "v"}
    with torch.no_grad():
        assert torch.equal(again(IDS % 20).logits, model(IDS % 20).logits)
