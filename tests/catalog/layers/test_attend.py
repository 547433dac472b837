"""The kernels agree with the formula, and with each other."""

import pytest
import torch

from catalog.errors import ConfigError
from catalog.layers import attend, masks, use_kernel
from catalog.layers.attend import recorded_weights


@pytest.fixture(autouse=True)
def _restore():
    yield
    use_kernel("auto")


def states(heads=4, kv_heads=4, queries=6, keys=6, batch=3):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(batch, heads, queries, 8, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, batch, kv_heads, keys, 8, generator=generator, dtype=torch.float64)
    return q, k, v


KEYS = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]])
MASKS = {
    "none": lambda: None,
    "padding": lambda: masks.padding(KEYS),
    "causal": lambda: masks.causal(),
    "causal padded": lambda: masks.causal(KEYS),
    "window": lambda: masks.causal(window=2),
}


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("name", MASKS)
def test_kernels_agree(name, kv_heads):
    q, k, v = states(kv_heads=kv_heads)
    real = KEYS.bool()[:, None, :, None] if "padd" in name else torch.ones(3, 1, 6, 1, dtype=torch.bool)
    fused = attend(q, k, v, MASKS[name]())
    use_kernel("explicit")
    plain = attend(q, k, v, MASKS[name]())
    torch.testing.assert_close(torch.where(real, fused, 0), torch.where(real, plain, 0))


def test_the_formula_by_hand():
    q, k, v = states(queries=2, keys=3, batch=1, heads=1, kv_heads=1)
    bias = torch.tensor([[[[0.5, 0.0, -1.0], [0.0, 2.0, 0.0]]]], dtype=torch.float64)
    scores = q[0, 0] @ k[0, 0].t() * 0.3 + bias[0, 0]
    want = torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True) @ v[0, 0]
    torch.testing.assert_close(attend(q, k, v, bias=bias, scale=0.3)[0, 0], want)


@pytest.mark.parametrize("causal", [False, True])
def test_unpadded_equals_one_by_one_and_neighbours_do_not_leak(causal):
    lengths = torch.tensor([3, 3, 1, 5, 2])
    q, k, v = states(batch=1, kv_heads=2, queries=14, keys=14)
    mask = masks.packed(lengths, causal=causal)
    together = attend(q, k, v, mask)
    alone = [
        attend(*parts, masks.causal() if causal else None)
        for parts in zip(*(t.split(lengths.tolist(), 2) for t in (q, k, v)))
    ]
    torch.testing.assert_close(together, torch.cat(alone, 2))
    use_kernel("sdpa")
    torch.testing.assert_close(attend(q, k, v, masks.packed(lengths, causal=causal)), together)
    use_kernel("auto")
    v[:, :, 3:6] += 100  # the second sequence
    changed = (attend(q, k, v, mask) - together).abs().amax((0, 1, 3)) > 0
    assert changed.tolist() == [3 <= i < 6 for i in range(14)]


def test_weights_are_recorded_and_sum_to_one():
    q, k, v = states()
    with recorded_weights([]) as seen:
        attend(q, k, v, masks.padding(KEYS))
    assert len(seen) == 1
    torch.testing.assert_close(seen[0].sum(-1), torch.ones(3, 4, 6, dtype=torch.float64))
    assert not seen[0][1, :, :, 4:].any() and not seen[0][2, :, :, :2].any()


def test_the_last_query_stands_beside_the_last_key():
    q, k, v = states(queries=2)
    whole = states()[0].clone()
    whole[:, :, 4:] = q
    torch.testing.assert_close(attend(q, k, v, masks.causal()), attend(whole, k, v, masks.causal())[:, :, 4:])


def test_an_unknown_kernel_is_answered():
    with pytest.raises(ConfigError, match="did you mean 'sdpa'"):
        use_kernel("spda")
