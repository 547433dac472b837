"""Weights in bf16: rounding that is right on average, the same after a resume, and what it is worth."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.support import training
from trainer import optim, rounding

BF16 = torch.bfloat16


def rounded(values, seed=0):
    wide = torch.as_tensor(values, dtype=torch.float32)
    narrow = torch.empty(wide.shape, dtype=BF16)
    rounding.into(narrow, wide, torch.Generator().manual_seed(seed))
    return narrow


def neighbours(value):
    """The bf16 numbers on both sides of one, itself twice where it is one."""
    bits = torch.tensor(value, dtype=torch.float32).view(torch.int32) & (-1 << 16)
    below, above = bits.view(torch.float32), (bits + (1 << 16)).view(torch.float32)
    return (below, below) if below == value else (below, above)


@settings(max_examples=100, deadline=None)
@given(st.floats(-(2.0**100), 2.0**100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-30), st.integers(0, 2**40))
def test_each_number_goes_to_one_of_its_neighbours(value, seed):
    low, high = neighbours(value)
    assert set(rounded([value] * 64, seed).float().tolist()) <= {float(low), float(high)}


@settings(max_examples=25, deadline=None)
@given(st.floats(2.0**-10, 1024.0, width=32), st.sampled_from([-1.0, 1.0]))
def test_the_mean_is_the_exact_number(size, sign):
    n, value = 20_000, sign * size
    low, high = (float(v) for v in neighbours(value))
    mean = float(rounded([value] * n).double().mean())
    assert abs(mean - value) <= 5 * abs(high - low) / (2 * n**0.5), "five deviations of the mean"


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, float("inf"), -float("inf")])
def test_what_bf16_has_stays(value):
    assert (rounded([value] * 100).float() == value).all()
    assert rounded([float("nan")]).isnan().all()


def test_updates_below_the_spacing_are_not_lost():
    """1000 steps of 1e-4 from 1.0, where bf16 numbers are 0.008 apart: to the nearest nothing would move."""
    weight = nn.Parameter(torch.ones(2_000, dtype=BF16))
    options = training.optimizer("sgd", lr=1e-4, decay=0)
    optimizer = optim.build(nn.ParameterDict({"w": weight}), options)
    optimizer.param_groups[0]["momentum"] = 0
    for _ in range(1000):
        weight.grad = torch.ones_like(weight)
        optim.update(optimizer, 1e-4, torch.zeros(()))
    assert float(weight.detach().float().mean()) == pytest.approx(0.9, abs=1e-3)
    assert weight.dtype == BF16


def test_a_skipped_step_changes_no_weight_and_fp32_weights_are_updated_as_ever():
    torch.manual_seed(0)
    net, plain = nn.ParameterDict({"a": torch.randn(50), "b": torch.randn(50)}), nn.ParameterDict()
    plain["b"] = net["b"].detach().clone()
    net["a"].data = net["a"].data.to(BF16)
    both = [(n, optim.build(n, training.optimizer(lr=0.1))) for n in (net, plain)]
    before = net["a"].detach().clone()
    for skip in (1.0, 0.0):
        for n, optimizer in both:
            for p in n.values():
                p.grad = torch.full_like(p, 0.5)
            optim.update(optimizer, 0.1, torch.tensor(skip))
        assert torch.equal(net["b"], plain["b"])
        assert torch.equal(net["a"], before) == bool(skip)
    optimizer = both[0][1]
    assert optimizer.param_groups[0]["params"][0] is net["a"]
    assert optimizer.state[net["a"]]["exp_avg"].dtype == torch.float32


def test_a_resumed_run_rounds_as_it_would_have(tmp_path):
    def run(folder):
        return training.trainer(folder, options=training.config(dtype="bf16_pure", save_every=3))

    whole = run(tmp_path / "whole")
    whole.fit()
    first = run(tmp_path / "two")

    def stop(step):
        if step == 6:
            raise KeyboardInterrupt

    first.train.before = stop
    with pytest.raises(Exception, match="interrupted"):
        first.fit()
    second = run(tmp_path / "two")
    second.fit(resume=True)
    for (name, a), b in zip(whole.model.named_parameters(), second.model.parameters()):
        assert a.dtype == BF16 and torch.equal(a, b), name
