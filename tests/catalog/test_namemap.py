"""Templates match whole names, zip their alternatives, and invert."""

import pytest
import torch

from catalog.errors import NameMapError
from catalog.namemap import NameMap, Rule, Template
from catalog.ops import Concatenate, PerGroup, Split, Stack, Transpose


class Sizes:
    heads, kv_heads = 4, 2


def convert(mapping, tensors, published):
    out = {}
    for step in mapping.steps(tensors, published=published):
        source, target = (step.published, step.ours) if published else (step.ours, step.published)
        values = [tensors[name] for name in source]
        if step.op is not None:
            values = (step.op.load if published else step.op.save)(values, Sizes)
        out |= dict(zip(target, values))
    return out


def test_a_template_matches_the_whole_name():
    template = Template("h.{i}.attn.bias")
    assert template.match("h.3.attn.bias") == {"i": "3"}
    assert template.match("h.3.attn.c_attn.bias") is None
    assert template.match("x.h.3.attn.bias") is None
    assert template.match("h.x.attn.bias") is None


def test_a_leaf_is_one_word_and_a_path_is_any():
    assert Template("a.*").match("a.b.c") is None
    assert Template("**.gamma").match("a.b.gamma") == {"path": "a.b"}


def test_alternatives_are_zipped():
    mapping = NameMap([("layers.{i}.norm{1,2}.*", "h.{i}.ln_{a,b}.*")])
    names = {f"h.{i}.ln_{w}.weight": torch.tensor(i * 2 + (w == "b")) for i in range(12) for w in "ab"}
    ours = convert(mapping, names, published=True)
    assert ours["layers.11.norm2.weight"] == 23 and ours["layers.2.norm1.weight"] == 4
    assert convert(mapping, ours, published=False) == names


@pytest.mark.parametrize(
    ("op", "rows"),
    [(Split(), 12), (Split(transpose=True), 12), (PerGroup(), 16)],
    ids=["split", "transposed", "groups"],
)
def test_fused_projections_part_and_join(op, rows):
    mapping = NameMap([("layers.{i}.attn.{q,k,v}.weight", "h.{i}.qkv.weight", op)])
    fused = torch.arange(rows * 6.0).reshape(rows, 6)
    fused = fused.t().contiguous() if op == Split(transpose=True) else fused
    ours = convert(mapping, {"h.0.qkv.weight": fused}, published=True)
    assert sorted(ours) == [f"layers.0.attn.{w}.weight" for w in "kqv"]
    assert torch.equal(convert(mapping, ours, published=False)["h.0.qkv.weight"], fused)


def test_groups_hold_their_queries_then_key_and_value():
    fused = torch.arange(16.0)[:, None]  # two groups of (2 q, k, v) heads, two rows a head
    q, k, v = PerGroup().load([fused], Sizes)
    assert q.flatten().tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert k.flatten().tolist() == [4, 5, 12, 13] and v.flatten().tolist() == [6, 7, 14, 15]


def test_experts_stack_in_the_order_of_their_numbers():
    mapping = NameMap([("experts.up.weight", "experts.{e}.wi.weight", Stack(11))])
    files = {f"experts.{e}.wi.weight": torch.full((2, 2), float(e)) for e in reversed(range(11))}
    ours = convert(mapping, files, published=True)
    assert ours["experts.up.weight"][:, 0, 0].tolist() == list(range(11))
    back = convert(mapping, ours, published=False)
    assert back.keys() == files.keys() and all(torch.equal(back[n], files[n]) for n in files)


def test_concatenation_and_transposition_invert():
    parts = [torch.arange(4.0).reshape(2, 2), torch.arange(6.0).reshape(3, 2)]
    op = Concatenate(lambda config: [2, 3])
    assert all(torch.equal(a, b) for a, b in zip(op.save(op.load(parts, None), None), parts))
    assert torch.equal(Transpose().load([parts[1]], None)[0], parts[1].t())


def test_two_rules_for_one_name_are_found_when_the_map_is_built():
    with pytest.raises(NameMapError, match="two rules match"):
        NameMap([("a.{i}.w", "x.{i}.w"), ("b.{i}.w", "x.{i}.w")])
    with pytest.raises(NameMapError, match="two rules match"):
        NameMap([("a.weight", "x.weight"), ("b.*", "x.*")])
    with pytest.raises(NameMapError, match="no op"):
        Rule("a.{q,k,v}", "x")
    with pytest.raises(NameMapError, match="zips"):
        Rule("a.{q,k,v}", "x.{q,k}")


def test_a_head_joins_its_backbone():
    body = NameMap(
        [("embed.weight", "wte.weight")], prefix="model.", drop=["mask"], tied={"copy.weight": "embed.weight"}
    )
    both = body.joined(NameMap([("out.*", "score.*")]))
    assert both.explain("backbone.embed.weight") == "backbone.embed.weight is model.wte.weight"
    assert both.explain("out.bias") == "out.bias is score.bias"
    assert both.dropped("model.mask") and both.tied == {"model.copy.weight": "backbone.embed.weight"}
    with pytest.raises(NameMapError, match="no rule speaks of"):
        both.explain("nothing.weight")


def test_legacy_spelling_is_read():
    mapping = NameMap([("norm.*", "LayerNorm.*")], legacy=[("**.gamma", "**.weight")])
    assert mapping.current("a.b.gamma") == "a.b.weight"
    assert mapping.current("a.gamma.weight") == "a.gamma.weight"
