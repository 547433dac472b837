"""A decoder fed bit by bit, keeping keys and values, says what it says of the whole text at once."""

from dataclasses import replace
from inspect import signature

import pytest
import torch

import catalog
from catalog import registry
from catalog.building import from_published
from tests.support import golden
from tests.support.export import Named


def _decoders():
    """One golden case a model that predicts the next token and keeps keys and values; with a window where it has one."""
    for case in golden.cases():
        name, head = registry.CLASSES.get(case.data["class"], (None, None))
        if head != "causal-lm" or case.data["config"].get("is_encoder_decoder"):
            continue
        if "past_key_values" not in signature(registry.model_class(name).forward).parameters:
            continue
        _, _, config = from_published(case.config())
        if not getattr(config, "causal", True):  # an encoder's class that can be made a decoder
            config = replace(config, causal=True)
        yield pytest.param(name, config, id=case.name)
        if getattr(config, "window", None):
            yield pytest.param(name, replace(config, window=3), id=f"{case.name}, window of 3")


each = pytest.mark.parametrize("name, config", list(_decoders()))
CHUNKS = (4, 1, 1, 3, 2)  # the first shorter than the longest padding


@pytest.fixture
def model(name, config):
    model = catalog.build(name, config, head="causal-lm", seed=1)
    with torch.no_grad():  # fresh weights are so small that a wrong key would hardly show
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.2)
    return model.eval()


@pytest.fixture
def ids(config):
    return torch.randint(3, config.vocab, (3, sum(CHUNKS)), generator=torch.Generator().manual_seed(0))


def _by_chunks(model, ids, mask=None):
    """Logits of each chunk given those before it as a cache, and the cache at the end."""
    past, end, logits = None, 0, []
    for size in CHUNKS:
        start, end = end, end + size
        so_far = {} if mask is None else {"attention_mask": mask[:, :end]}
        out = model(input_ids=ids[:, start:end], past_key_values=past, use_cache=True, **so_far)
        past = out.past_key_values
        logits.append(out.logits)
    return torch.cat(logits, 1), past


@each
@torch.no_grad()
def test_kept_keys_change_nothing(name, config, model, ids):
    whole = model(input_ids=ids)
    assert whole.past_key_values is None
    bits, past = _by_chunks(model, ids)
    torch.testing.assert_close(bits, whole.logits, rtol=1e-5, atol=1e-5)
    kv_heads = getattr(config, "kv_heads", None) or config.heads
    assert len(past) == config.depth
    assert all(t.shape[:3] == (3, kv_heads, sum(CHUNKS)) for layer in past for t in layer)


@each
@torch.no_grad()
def test_kept_keys_change_nothing_behind_padding(name, config, model, ids):
    mask = torch.ones_like(ids)
    mask[1, :2] = mask[2, :5] = 0
    ids = ids.where(mask.bool(), config.pad_id or 0)
    whole = model(input_ids=ids, attention_mask=mask).logits
    bits, _ = _by_chunks(model, ids, mask)
    real = mask.bool()
    torch.testing.assert_close(bits[real], whole[real], rtol=1e-5, atol=1e-5)
    alone = model(input_ids=ids[2:, 5:]).logits
    torch.testing.assert_close(bits[2:, 5:], alone, rtol=1e-5, atol=1e-5)


@each
@torch.no_grad()
def test_a_whole_text_may_fill_the_cache(name, config, model, ids):
    prompt = model(input_ids=ids[:, :-1], use_cache=True)
    step = model(input_ids=ids[:, -1:], past_key_values=prompt.past_key_values)
    torch.testing.assert_close(step.logits[:, 0], model(input_ids=ids).logits[:, -1], rtol=1e-5, atol=1e-5)
    assert step.past_key_values is not None


@each
def test_a_step_exports_with_an_open_past(name, config, model, ids):
    with torch.no_grad():
        past = model(input_ids=ids[:, :4], use_cache=True).past_key_values
    seen = torch.export.Dim("seen", min=2, max=32)
    inputs = {"input_ids": ids[:, 4:5], "past_key_values": past}
    shapes = {"input_ids": None, "past_key_values": tuple(({2: seen}, {2: seen}) for _ in past)}
    program = torch.export.export(Named(model), (inputs,), dynamic_shapes=(shapes,), strict=False)
    with torch.no_grad():
        past = model(input_ids=ids[:, :9], use_cache=True).past_key_values
        step = program.module()({"input_ids": ids[:, 9:10], "past_key_values": past})
    torch.testing.assert_close(step.logits[:, 0], model(input_ids=ids).logits[:, 9], rtol=1e-5, atol=1e-5)
