"""What decoders promise beyond their golden numbers, by value."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import catalog
from catalog import registry
from catalog.building import from_published
from catalog.errors import ConfigError, LoadError
from catalog.layers import masks
from catalog.models.bloom import CONFIG
from catalog.models.opt import NAMES
from tests.support import golden


def tiny(name, **changes):
    """The configuration of a model's golden files, changed."""
    return replace(from_published(golden.cases(name)[0].config())[2], **changes)


def fresh(name, head=None, **changes):
    """A model with weights large enough that a wrong one shows."""
    model = catalog.build(name, tiny(name, **changes), head=head, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    return model.eval()


def words(*shape, low=5, high=99, seed=0):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["bloom", "gpt2", "gpt_neox", "llama", "mistral", "opt"])
@torch.no_grad()
def test_a_text_is_classified_by_its_last_real_token(name):
    model, ids = fresh(name, "sequence-classification"), words(1, 6)
    pad, real, none = torch.full((1, 3), model.config.pad_id), torch.ones(1, 6).long(), torch.zeros(1, 3).long()
    alone = model(input_ids=ids).logits
    right = model(input_ids=torch.cat([ids, pad], 1), attention_mask=torch.cat([real, none], 1)).logits
    left = model(input_ids=torch.cat([pad, ids], 1), attention_mask=torch.cat([none, real], 1)).logits
    other = words(1, 4, seed=1)
    packed = model(input_ids=torch.cat([ids, other], 1), lengths=torch.tensor([6, 4])).logits
    want = model.out(model.backbone(input_ids=ids).last_hidden_state[:, -1])
    torch.testing.assert_close(alone, want)
    for got in (right, left, packed[:1]):
        torch.testing.assert_close(got, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_window_reaches_just_as_far():
    model, ids = fresh("mistral", window=3, depth=1), words(1, 8)
    before = model(input_ids=ids).last_hidden_state[0]
    for at in range(8):
        changed = ids.clone()
        changed[0, at] = (changed[0, at] + 1) % 99
        moved = (model(input_ids=changed).last_hidden_state[0] - before).abs().amax(1) > 1e-6
        assert moved.nonzero().flatten().tolist() == list(range(at, min(at + 3, 8)))


@torch.no_grad()
def test_fewer_key_value_heads_are_repeated():
    few, many = fresh("llama", kv_heads=2), fresh("llama")
    state = few.state_dict()
    for i in range(2):
        for part in ("k", "v"):
            weight = state[f"layers.{i}.attn.{part}.weight"].unflatten(0, (2, 8))
            state[f"layers.{i}.attn.{part}.weight"] = weight.repeat_interleave(2, 0).flatten(0, 1)
    many.load_state_dict(state)
    ids = words(2, 6)
    torch.testing.assert_close(few(input_ids=ids).last_hidden_state, many(input_ids=ids).last_hidden_state)


@torch.no_grad()
def test_gpt2_scales_its_scores_as_told():
    plain, ids = fresh("gpt2"), words(2, 6)
    for changes, factor in (({"layer_scaled": True}, lambda i: i + 1), ({"scaled": False}, lambda i: 8**-0.5)):
        other = fresh("gpt2", **changes)
        assert not torch.allclose(other(input_ids=ids).last_hidden_state, plain(input_ids=ids).last_hidden_state)
        for i, block in enumerate(other.layers):
            block.attn.q.weight *= factor(i)
            block.attn.q.bias *= factor(i)
        torch.testing.assert_close(
            other(input_ids=ids).last_hidden_state, plain(input_ids=ids).last_hidden_state, rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_gpt2_adds_the_vectors_of_segments():
    model, ids, speakers = fresh("gpt2"), words(1, 5), torch.tensor([[7, 7, 9, 9, 9]])
    seen = []
    model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(input_ids=ids)
    model(input_ids=ids, token_type_ids=speakers)
    torch.testing.assert_close(seen[1] - seen[0], model.embed.tokens.weight[speakers])


@torch.no_grad()
def test_gpt2_starts_what_the_residual_stream_sums_up_smaller():
    model = catalog.build("gpt2", tiny("gpt2", width=256, heads=4, depth=8), seed=0)
    for block in model.layers:
        for last in (block.attn.out, block.mlp.down):
            assert float(last.weight.std()) == pytest.approx(0.02 / math.sqrt(2 * 8), rel=0.05)
        for plain in (block.attn.q, block.mlp.up):
            assert float(plain.weight.std()) == pytest.approx(0.02, rel=0.05)


def _old_gpt2(folder):
    """A folder as the first GPT-2 files were: no prefix, causal masks and the tied matrix in the file."""
    case = next(c for c in golden.cases("gpt2") if c.data["class"] == "GPT2LMHeadModel")
    case.write(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    for i in range(2):
        tensors[f"h.{i}.attn.bias"] = torch.ones(1, 1, 40, 40).tril()
        tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return case, tensors


def test_an_unpadded_batch_keeps_no_keys():
    with pytest.raises(ConfigError, match="keeps no keys and values"):
        fresh("gpt2")(input_ids=words(1, 6), lengths=torch.tensor([4, 2]), use_cache=True)


def test_gpt2_files_may_hold_masks_and_no_prefix(tmp_path):
    case, tensors = _old_gpt2(tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    result = catalog.load(tmp_path)(**case.inputs)
    golden.expect(result.logits, case.data["outputs"]["logits"], "logits")


def test_gpt2_files_may_hold_the_tied_matrix_twice_if_it_is_the_same(tmp_path):
    case, tensors = _old_gpt2(tmp_path)
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors")
    golden.expect(catalog.load(tmp_path)(**case.inputs).logits, case.data["outputs"]["logits"], "logits")
    tensors["lm_head.weight"][3, 4] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match="differ in the file"):
        catalog.load(tmp_path)


@torch.no_grad()
def test_both_heads_of_a_dialogue_model():
    model = fresh("gpt2", "double-heads")
    ids, labels, right = words(2, 3, 6), words(2, 3, 6, seed=1), torch.tensor([2, 0])
    labels[0, 1, 2:] = -100
    at = torch.tensor([[5, 2, 3], [0, 5, 4]])
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), mc_token_ids=at, labels=labels, mc_labels=right)
    assert out.logits.shape == (2, 3, 6, 99) and out.mc_logits.shape == (2, 3)
    states = model.backbone(input_ids=ids.flatten(0, 1)).last_hidden_state
    for row in range(2):
        for choice in range(3):
            want = model.choice(states[row * 3 + choice, at[row, choice]])
            torch.testing.assert_close(out.mc_logits[row, choice], want[0])
    tokens = F.cross_entropy(out.logits[..., :-1, :].flatten(0, 2), labels[..., 1:].flatten())
    torch.testing.assert_close(out.loss, tokens)
    torch.testing.assert_close(out.mc_loss, F.cross_entropy(out.mc_logits, right))
    terms, counts = model.terms(out, labels=labels, mc_labels=right), model.counts(labels=labels, mc_labels=right)
    assert {name: int(term.count) for name, term in terms.items()} == {n: int(c) for n, c in counts.items()}
    assert counts.keys() == {"loss", "mc_loss"} and int(counts["mc_loss"]) == 2


@torch.no_grad()
def test_the_choice_is_read_at_the_last_token_of_unpadded_texts():
    model, rows = fresh("gpt2", "double-heads"), [words(1, 5), words(1, 3, seed=1)]
    packed = model(input_ids=torch.cat(rows, 1), lengths=torch.tensor([5, 3])).mc_logits
    alone = torch.cat([model(input_ids=row).mc_logits for row in rows])
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


def test_bloom_reads_the_keys_of_its_published_files():
    published = {
        "model_type": "bloom", "architectures": ["BloomForCausalLM"], "n_embed": 64, "num_attention_heads": 8, "n_layer": 2,
        "vocab_size": 99, "offset_alibi": 100, "seq_length": 2048, "masked_softmax_fusion": True, "unk_token_id": 0,
    }  # fmt: skip
    name, head, config = from_published(published)
    assert (name, head, config.width, config.heads, config.depth) == ("bloom", "causal-lm", 64, 8, 2)
    written = CONFIG.write(config, name, ["BloomForCausalLM"])
    assert written["hidden_size"] == 64 and written["n_head"] == 8 and written["seq_length"] == 2048
    assert "n_embed" not in written


@torch.no_grad()
def test_bloom_biases_scores_by_distance_alone():
    model, ids = fresh("bloom", depth=1), words(1, 6)
    with torch.no_grad():
        (
            model.layers[0].attn.q.weight.zero_(),
            model.layers[0].attn.q.bias.zero_(),
        )  # scores are the bias and nothing else
    weights = model(input_ids=ids, output_attentions=True).attentions[0][0]
    slopes = [2 ** (-8 * (i + 1) / 4) for i in range(4)]
    for head, slope in enumerate(slopes):
        distances = torch.arange(6)[None] - torch.arange(6)[:, None]
        want = (slope * distances).masked_fill(distances > 0, -math.inf).softmax(-1)
        torch.testing.assert_close(weights[head], want)


def test_the_padding_row_of_llama_learns_nothing():
    model = fresh("llama", "causal-lm")
    ids = words(2, 6)
    ids[0, 3:] = 0
    model(input_ids=ids, labels=ids).loss.backward()
    gradient = model.backbone.embed.tokens.weight.grad
    assert not gradient[0].any() and gradient[ids[1, 2]].any()


@torch.no_grad()
def test_the_350m_opt_widens_its_tokens_and_ends_without_a_norm():
    model, ids = fresh("opt", embed_width=16, pre_norm=False), words(1, 5)
    out = model(input_ids=ids, output_hidden_states=True)
    first, last = out.hidden_states[0], model.layers[-1](out.hidden_states[1], mask=masks.causal())
    tokens = model.embed.tokens.weight[ids] @ model.embed.project.weight.t()
    torch.testing.assert_close(first, tokens + model.embed.positions.weight[2:7])
    torch.testing.assert_close(out.last_hidden_state, last @ model.project.weight.t())
    block = model.layers[0]
    middle = block.norm1(first + block.attn(first, mask=masks.causal()))
    torch.testing.assert_close(out.hidden_states[1], block.norm2(middle + block.mlp(middle)))
    published = {name for step in NAMES.steps(model.state_dict(), published=False) for name in step.published}
    assert {"decoder.project_in.weight", "decoder.project_out.weight"} <= published
    assert not any(name.startswith("decoder.final_layer_norm") for name in published)
    assert catalog.build("opt", model.config, head="causal-lm", device="meta").out.weight.shape == (99, 16)


def test_galactica_has_neither_biases_nor_scales():
    model = catalog.build("opt", tiny("opt", bias=False, norm_scale=False), device="meta")
    assert {name.split(".")[-2] for name, _ in model.named_parameters()} == {
        "tokens", "positions", "q", "k", "v", "out", "up", "down"
    }  # fmt: skip


@torch.no_grad()
def test_neox_may_read_one_after_the_other():
    model, ids = fresh("gpt_neox", parallel=False, depth=1), words(1, 5)
    x, context = model.embed(ids), {"mask": masks.causal(), "positions": torch.arange(5)[None]}
    block = model.layers[0]
    x = x + block.attn(block.norm1(x), **context)
    x = x + block.mlp(block.norm2(x))
    torch.testing.assert_close(model(input_ids=ids).last_hidden_state, model.norm(x))
    other = fresh("gpt_neox", depth=1)
    assert not torch.allclose(other(input_ids=ids).last_hidden_state, model.norm(x), atol=1e-2)


@pytest.mark.parametrize(
    "name, tensor",
    [
        ("gpt2", "transformer.h.11.attn.masked_bias"),
        ("llama", "model.layers.31.self_attn.rotary_emb.inv_freq"),
        ("gpt_neox", "gpt_neox.layers.5.attention.bias"),
        ("gpt_neox", "gpt_neox.layers.5.attention.rotary_emb.inv_freq"),
    ],
)
def test_tables_in_published_files_are_no_weights(name, tensor):
    assert registry.names_of(name, "causal-lm").dropped(tensor)
