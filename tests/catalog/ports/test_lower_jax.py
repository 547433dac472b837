"""Each op in JAX gives what PyTorch gives, and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.ports import ops
from tests.support import op_samples, op_torch

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

from catalog.ports.lower_jax import TABLE
from catalog.ports.lower_jax.elementwise import dtype_of


def test_the_table_is_the_list():
    assert set(TABLE) == ops.OPS
    sizes = {op for op in ops.OPS if op == "size" or op.startswith("int.")}
    assert {ops.base(name) for name in op_samples.SAMPLES} | op_samples.UNCOMPARED | sizes == ops.OPS


def _jax(tensor):
    if tensor.dtype == torch.bfloat16:
        return jnp.asarray(tensor.float().numpy()).astype(jnp.bfloat16)
    return jnp.asarray(tensor.detach().numpy())


def _compare(got, tensor, name):
    kind = str(tensor.dtype).removeprefix("torch.")
    assert got.dtype == dtype_of(kind), f"{name}: {got.dtype}, {kind}"
    op_torch.close(np.asarray(got.astype(jnp.float32) if kind == "bfloat16" else got), kind, tensor, name)


@pytest.mark.parametrize("name, number", op_samples.EACH, ids=[f"{name}-{i}" for name, i in op_samples.EACH])
def test_op(name, number):
    wanted = op_torch.wanted(name, number)
    function, named = TABLE[ops.base(name)], op_torch.replaced(list(wanted.kwargs.values()), _jax, dtype_of)
    fed = [_jax(t) for t in op_torch.tensors(wanted.args)]

    def outputs(*given):
        rest = iter(given)
        made = function(
            *op_torch.replaced(wanted.args, lambda _: next(rest), dtype_of), **dict(zip(wanted.kwargs, named))
        )
        return [made] if wanted.single else list(made)

    got = outputs(*fed)
    assert len(got) >= len(wanted.outputs)
    for one, other in zip(got, wanted.outputs):
        _compare(one, other, name)

    def scalar(*learned):
        given = list(fed)
        for place, value in zip(wanted.learn, learned):
            given[place] = value
        total = (outputs(*given)[0] * jnp.asarray(wanted.weight.numpy())).sum()
        return jnp.abs(total) if jnp.iscomplexobj(total) else total

    if wanted.learn:
        places = tuple(range(len(wanted.learn)))
        gradients = jax.jit(jax.grad(scalar, argnums=places))(*[fed[place] for place in wanted.learn])
        for gradient, other in zip(gradients, wanted.gradients):  # of a complex argument JAX gives the conjugate
            _compare(gradient.conj() if other.is_complex() else gradient, other, f"gradient of {name}")


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_its_rate_and_scale(rate):
    ones = jnp.ones((200, 500))
    out, kept = TABLE["native_dropout"](ones, rate, True, key=jax.random.key(0))
    share = float(kept.mean())
    assert abs(share - (1 - rate)) < 4 * (rate * (1 - rate) / ones.size) ** 0.5
    assert np.unique(np.asarray(out)).tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    again, _ = TABLE["native_dropout"](ones, rate, True, key=jax.random.key(0))
    other, _ = TABLE["native_dropout"](ones, rate, True, key=jax.random.key(1))
    assert jnp.array_equal(out, again) and not jnp.array_equal(out, other)


def test_attention_drops_weights_and_keeps_their_mean():
    q = k = jnp.zeros((1, 64, 32, 8))
    v = jnp.ones((1, 64, 32, 8))
    out = TABLE["scaled_dot_product_attention"](q, k, v, None, 0.25, key=jax.random.key(0))
    assert float(out.mean()) == pytest.approx(1.0, abs=0.01) and float(out.std()) > 0.05


@pytest.mark.parametrize(
    "name, args, mean",
    [("rand", ([400, 500],), 0.5), ("randn", ([400, 500],), 0.0), ("randint", (2, 7, [400, 500]), 4.0)],
)
def test_random_numbers(name, args, mean):
    out = TABLE[name](*args, key=jax.random.key(0))
    assert float(out.mean()) == pytest.approx(mean, abs=0.02) and out.shape == (400, 500)
    waits = TABLE["exponential"](jnp.zeros((400, 500)), 2.0, key=jax.random.key(0))
    assert float(waits.mean()) == pytest.approx(0.5, abs=0.01) and float(waits.min()) >= 0
    coin = TABLE["bernoulli"](jnp.zeros((400, 500)), 0.3, key=jax.random.key(0))
    assert float(coin.mean()) == pytest.approx(0.3, abs=0.01)


_TYPES = st.sampled_from(
    [torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32]
)
_OPERANDS = st.one_of(
    st.tuples(_TYPES, st.sampled_from([(), (1,), (3,), (2, 3)])).map(lambda t: torch.ones(t[1], dtype=t[0])),
    st.sampled_from([True, 2, 1.5]),
)


@settings(deadline=None, max_examples=80)
@given(_OPERANDS, _OPERANDS)
def test_types_of_results_are_pytorchs(a, b):
    if not isinstance(a, torch.Tensor):
        a = torch.ones(2, dtype=torch.int64)
    try:
        wanted = a + b
    except RuntimeError:  # shapes that do not go together
        return
    got = TABLE["add"](_jax(a), _jax(b) if isinstance(b, torch.Tensor) else b)
    assert got.shape == tuple(wanted.shape)
    assert got.dtype == dtype_of(str(wanted.dtype).removeprefix("torch."))


@settings(deadline=None, max_examples=60)
@given(st.integers(-7, 7), st.one_of(st.none(), st.integers(-7, 7)), st.integers(1, 3), st.integers(-2, 1))
def test_slices(start, end, step, dim):
    array = torch.arange(20).reshape(4, 5)
    wanted = torch.ops.aten.slice.Tensor(array, dim, start, end, step)
    assert np.array_equal(TABLE["slice"](_jax(array), dim, start, end, step), wanted.numpy())
