"""Encoders of speech beyond their golden files: spellings, adapters, and what training hides and skips."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import catalog
from catalog.errors import ConfigError
from tests.support import golden

CASES = {case.name.split("/")[1]: case for case in golden.cases("wav2vec2")}
SMALL = {
    "width": 16, "depth": 2, "heads": 2, "hidden": 8, "conv_sizes": (8, 8), "conv_kernels": (8, 4),
    "conv_strides": (4, 2), "position_kernel": 4, "position_groups": 2,
}  # fmt: skip


def _build(**changes):
    return catalog.build("wav2vec2", catalog.config("wav2vec2", **SMALL | changes), seed=0)


def test_both_spellings_of_the_weight_norm_are_one_model(tmp_path):
    case = CASES["Wav2Vec2Model"]
    folder = case.write(tmp_path / "model")
    modern = catalog.load(folder)
    tensors = load_file(folder / "model.safetensors")
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in tensors.items()
    }
    assert older.keys() != tensors.keys()
    save_file(older, folder / "model.safetensors")
    for one, other in zip(modern.state_dict().values(), catalog.load(folder).state_dict().values()):
        assert torch.equal(one, other)


def test_an_adapter_for_each_block_starts_from_the_states_before_it():
    with pytest.raises(ConfigError, match="norm_first"):
        _build(language_adapter=4)
    plain, adapted = (_build(norm_first=True, language_adapter=n).eval() for n in (None, 4))
    adapted.load_state_dict(plain.state_dict(), strict=False)
    values = torch.randn(1, 200)
    with torch.no_grad():
        for block in adapted.layers:
            block.adapter.up.weight.zero_()
            block.adapter.up.bias.zero_()
        torch.testing.assert_close(adapted(values).last_hidden_state, plain(values).last_hidden_state)
        adapted.layers[0].adapter.up.bias.fill_(1.0)
        assert not torch.allclose(adapted(values).last_hidden_state, plain(values).last_hidden_state)


def test_language_adapters_have_the_published_names():
    from catalog import registry

    config = catalog.config("wav2vec2", **SMALL, norm_first=True, language_adapter=4)
    names = registry.names_of("wav2vec2", "ctc", config)
    published = "wav2vec2.encoder.layers.{i}.adapter_layer"
    for ours, theirs in (("norm", "norm"), ("down", "linear_1"), ("up", "linear_2")):
        assert f"{published}.{theirs}.weight".replace("{i}", "1") in names.explain(
            f"backbone.layers.1.adapter.{ours}.weight"
        )


def test_a_shortener_halves_the_frames_and_their_mask():
    model = _build(adapter=True, adapter_depth=2, adapter_width=12).eval()
    values, mask = torch.randn(2, 400), torch.ones(2, 400, dtype=torch.long)
    mask[1, 200:] = 0
    with torch.no_grad():
        out = model(values, attention_mask=mask)
    frames = [model.adapter.convs.lengths(model.features.lengths(n)) for n in (400, 200)]
    assert out.last_hidden_state.shape == (2, frames[0], 12) and model.width == 12
    assert out.mask.keys.sum(1).tolist() == frames


def test_training_hides_frames_and_skips_blocks_in_one_graph():
    model = _build(
        depth=1, skip=0.5, mask_rate=0.5, mask_span=4, channel_rate=0.2, channel_span=2, channel_least=1
    ).train()
    torch.manual_seed(0)
    values = torch.randn(2, 400)
    draws = [model(values).last_hidden_state for _ in range(3)]
    assert not torch.equal(draws[0], draws[1])
    sum(draw.sum() for draw in draws).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.mask_vector.grad.abs().sum() > 0
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert compiled(values).last_hidden_state.isfinite().all()


def test_a_block_is_skipped_as_often_as_configured():
    from catalog.layers import Stack

    class Add(torch.nn.Module):
        def forward(self, x, *, cache=None):
            return x + 1

    stack = Stack([Add() for _ in range(400)], skip=0.25)
    torch.manual_seed(0)
    assert 260 < float(stack.train()(torch.zeros(1))) < 340
    assert float(stack.eval()(torch.zeros(1))) == 400
    assert [float(x) for x in Stack([Add(), Add()]).states(torch.zeros(1))] == [0, 1, 2]


def test_nothing_is_hidden_where_the_configuration_says_so():
    model = _build(augment=False, dropout=0.0, attn_dropout=0.0, mlp_dropout=0.0, skip=0.0).train()
    values = torch.randn(1, 400)
    assert torch.equal(model(values).last_hidden_state, model(values).last_hidden_state)


def test_a_text_is_read_at_its_first_end_token_or_its_largest_id():
    small = {"width": 8, "depth": 1, "heads": 2, "hidden": 8, "positions": 8, "vocab": 20}
    ids = torch.tensor([[0, 5, 19, 7, 19], [0, 11, 12, 6, 6]])
    for end, at in ((19, [2, 0]), (2, [2, 2]), (6, [0, 3])):
        model = catalog.build("clip_text_model", catalog.config("clip_text_model", **small, eos_id=end), seed=0).eval()
        with torch.no_grad():
            out = model(ids)
        assert torch.equal(out.pooler_output, out.last_hidden_state[[0, 1], at])
