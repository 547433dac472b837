"""Each op in JAX gives what PyTorch gives, and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.ports import ops
from tests.support import op_samples
from tests.support.op_samples import SAMPLES, kw

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

from catalog.ports.lower_jax import TABLE
from catalog.ports.lower_jax.elementwise import dtype_of

EACH = [(name, i) for name, samples in SAMPLES.items() for i in range(len(samples))]
WIDE = {"sum": 1e-5, "convolution": 1e-5, "linalg_inv_ex": 1e-4, "upsample_bicubic2d": 1e-5}


def test_the_table_is_the_list():
    assert set(TABLE) == ops.OPS
    sizes = {op for op in ops.OPS if op == "size" or op.startswith("int.")}
    assert {ops.base(name) for name in SAMPLES} | op_samples.UNCOMPARED | sizes == ops.OPS


def _torch_op(name):
    base, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, base), overload or "default")


def _jax(value):
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            return jnp.asarray(value.detach().float().numpy()).astype(jnp.bfloat16)
        return jnp.asarray(value.detach().numpy())
    if isinstance(value, torch.dtype):
        return dtype_of(str(value).removeprefix("torch."))
    return [_jax(v) for v in value] if isinstance(value, list) else value


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _compare(got, wanted, name):
    assert got.shape == tuple(wanted.shape), f"{name}: {got.shape}, {tuple(wanted.shape)}"
    kind = str(wanted.dtype).removeprefix("torch.")
    assert got.dtype == dtype_of(kind), f"{name}: {got.dtype}, {kind}"
    got = np.asarray(got.astype(jnp.float32) if kind == "bfloat16" else got)
    wanted = wanted.detach().float().numpy() if kind == "bfloat16" else wanted.detach().resolve_conj().numpy()
    tolerance = 2e-2 if kind == "bfloat16" else WIDE.get(ops.base(name), 3e-6)
    scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("name, number", EACH, ids=[f"{name}-{i}" for name, i in EACH])
def test_op(name, number):
    args = list(SAMPLES[name][number])
    kwargs = args.pop() if args and isinstance(args[-1], kw) else {}
    leaves = [t for t in _tensors(args) if (t.is_floating_point() or t.is_complex()) and not hasattr(t, "still")]
    for leaf in leaves:
        leaf.requires_grad_(True).grad = None
    wanted = _torch_op(name)(*args, **kwargs)
    single = isinstance(wanted, torch.Tensor)
    wanted = [wanted] if single else list(wanted)
    function = TABLE[ops.base(name)]
    named = {key: _jax(value) for key, value in kwargs.items()}
    flat, tree = jax.tree.flatten(_jax(args))
    got = function(*_jax(args), **named)
    got = [got] if single else list(got)[: len(wanted)]
    normed = name in ("native_layer_norm", "native_group_norm", "_native_batch_norm_legit_no_training")
    for one, other in zip(got[:1] if normed else got, wanted):  # statistics come in shapes of the kernel's own
        _compare(one, other, name)

    real = [i for i, t in enumerate(_tensors(args)) if any(t is leaf for leaf in leaves)]
    out = wanted[0]
    if not real or not out.requires_grad or out.dtype == torch.bfloat16:
        return
    places = [i for i, v in enumerate(flat) if hasattr(v, "shape")]
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    (out * weight).sum().abs().backward() if out.is_complex() else (out * weight).sum().backward()

    def scalar(*values):
        full = list(flat)
        for i, value in zip(real, values):
            full[places[i]] = value
        result = function(*jax.tree.unflatten(tree, full), **named)
        total = ((result if single else result[0]) * jnp.asarray(weight.numpy())).sum()
        return jnp.abs(total) if jnp.iscomplexobj(total) else total

    gradients = jax.jit(jax.grad(scalar, argnums=tuple(range(len(real)))))(*[flat[places[i]] for i in real])
    for leaf, gradient in zip(leaves, gradients):
        grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        # JAX's gradient of a complex argument is the conjugate of PyTorch's.
        _compare(gradient.conj() if leaf.is_complex() else gradient, grad, name)


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
    got = TABLE["add"](_jax(a), _jax(b))
    assert got.shape == tuple(wanted.shape)
    assert got.dtype == dtype_of(str(wanted.dtype).removeprefix("torch."))


@settings(deadline=None, max_examples=60)
@given(st.integers(-7, 7), st.one_of(st.none(), st.integers(-7, 7)), st.integers(1, 3), st.integers(-2, 1))
def test_slices(start, end, step, dim):
    array = torch.arange(20).reshape(4, 5)
    wanted = torch.ops.aten.slice.Tensor(array, dim, start, end, step)
    assert np.array_equal(TABLE["slice"](_jax(array), dim, start, end, step), wanted.numpy())
