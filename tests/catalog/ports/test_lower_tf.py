"""Every op of the TensorFlow table is PyTorch's: values and gradients, on tensors whose sizes the graph does not know."""

import numpy as np
import pytest
import torch

from catalog.ports import ops

pytest.importorskip("tensorflow")

import tensorflow as tf

from catalog.ports.lower_tf import TABLE
from catalog.ports.lower_tf.elementwise import dtype_of
from tests.support.tf_cases import CASES

# Sizes are Python's own numbers; ``empty`` holds anything; those that draw are tested below.
ELSEWHERE = {*ops.SIZES, *ops.RANDOM, "empty", "split", "squeeze"}


def test_every_op_has_a_case():
    assert set(TABLE) == ops.OPS
    assert ops.OPS - {ops.base(op) for op in CASES} <= ELSEWHERE


def _call(name, args, kwargs):
    packet, _, overload = name.partition(".")
    op = getattr(torch.ops.aten, packet)
    return (getattr(op, overload) if overload else op)(*args, **kwargs)


def _flat(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _translated(arg, feed):
    """PyTorch's argument as the table takes it; ``feed`` makes tensors."""
    if isinstance(arg, torch.Tensor):
        return feed(arg)
    if isinstance(arg, torch.dtype):
        return dtype_of(str(arg).removeprefix("torch."))
    return [_translated(a, feed) for a in arg] if isinstance(arg, (list, tuple)) else arg


def _tensors(arg):
    if isinstance(arg, torch.Tensor):
        return [arg]
    return [t for a in arg for t in _tensors(a)] if isinstance(arg, (list, tuple)) else []


def _compare(name, args, kwargs, unknown):
    table = TABLE[ops.base(name)]
    tensors = _tensors(args)
    learn = [t for t in tensors[: LEARN.get(name)] if t.is_floating_point()]

    def function(*fed):
        def run(*inputs):
            rest = iter(inputs)
            made = table(
                *_translated(args, lambda _: next(rest)), **{k: _translated(v, None) for k, v in kwargs.items()}
            )
            return made if isinstance(made, (list, tuple)) else [made]

        with tf.GradientTape() as tape:
            tape.watch(fed)
            outs = run(*fed)
            real_ = [o for o in (outs[:1] if name in FIRST else outs) if o.dtype.is_floating]
            total = tf.add_n([tf.reduce_sum(tf.sin(o) * 0.7 + o * o) for o in real_] or [tf.zeros([])])
        picked = [f for f, t in zip(fed, tensors) if any(t is one for one in learn)]
        gradients = tape.gradient(total, picked) if picked and real_ else [None] * len(picked)
        return outs, [tf.zeros_like(p) if g is None else tf.convert_to_tensor(g) for p, g in zip(picked, gradients)]

    fed = [tf.constant(t.detach().numpy()) for t in tensors]
    dims = [[None if n > 1 and unknown else n for n in t.shape] for t in tensors]
    specs = [tf.TensorSpec(d, t.dtype) for d, t in zip(dims, fed)]
    outs, gradients = tf.function(function, input_signature=specs)(*fed)

    for t in learn:
        t.requires_grad_(True).grad = None
    wanted = _flat(_call(name, args, kwargs))
    real_ = [o for o in (wanted[:1] if name in FIRST else wanted) if o.is_floating_point() and o.requires_grad]
    if real_:
        sum((torch.sin(o) * 0.7 + o * o).sum() for o in real_).backward()
    for t in learn:
        t.requires_grad_(False)
    assert len(outs) >= len(wanted)
    for got, want in zip(outs, wanted):
        got, want = got.numpy(), want.detach().numpy()
        if want.size == 0:
            continue
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    for got, t in zip(gradients, learn):
        want = np.zeros(t.shape, np.float32) if t.grad is None else t.grad.numpy()
        np.testing.assert_allclose(got.numpy(), want, rtol=3e-4, atol=3e-4, err_msg="gradient")


# PyTorch differentiates the first output only, or only some of the inputs.
FIRST = {"native_layer_norm", "native_group_norm", "_native_batch_norm_legit_no_training",
         "_native_batch_norm_legit_functional", "_native_batch_norm_legit.no_stats"}  # fmt: skip
LEARN = {
    "detach": 0, "copy": 0, "scatter.reduce": 0, "cross_entropy_loss": 1, "binary_cross_entropy_with_logits": 1,
    "_native_batch_norm_legit_no_training": 3, "_native_batch_norm_legit_functional": 3,
}  # fmt: skip

# Their sizes decide what is computed, so a program knows them.
KNOWN = {
    "convolution", "adaptive_avg_pool1d", "_adaptive_avg_pool2d", "unbind.int", "squeeze.dim", "squeeze.dims", "squeeze",
    "split.Tensor", "cat", "native_group_norm", "scaled_dot_product_attention", "_fft_c2r", "_fft_r2c", "_fft_c2c",
    "max_pool2d_with_indices", "avg_pool2d",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_op(name):
    for args, kwargs in CASES[name]:
        unknown = name not in KNOWN and not name.startswith("upsample")
        _compare(name, args, kwargs, unknown)


@pytest.mark.parametrize("name", ["size", "int.add", "int.floordiv", "int.max", "int.min", "int.ceil", "int.truediv"])
def test_sizes_are_the_same_numbers_known_or_not(name):
    arguments = {"size": None, "int.ceil": (2.3,)}.get(name, (7, 2))
    if name == "size":
        assert TABLE[name](tf.zeros([3, 4]), 1) == 4
        unknown = tf.function(lambda x: TABLE[name](x, 1), input_signature=[tf.TensorSpec([None, None])])
        assert int(unknown(tf.zeros([3, 4]))) == 4
        return
    known = TABLE[name](*arguments)
    unknown = tf.function(lambda *given: TABLE[name](*given))(*map(tf.constant, arguments))
    assert float(unknown) == known


def test_draws():
    key = tf.constant([3, 5])
    x = tf.ones([200, 300])
    out, kept = (t.numpy() for t in TABLE["native_dropout"](x, 0.25, True, key=key))
    assert abs(kept.mean() - 0.75) < 0.01
    np.testing.assert_allclose(out, kept / 0.75, rtol=1e-6)
    assert np.array_equal(out, TABLE["native_dropout"](x, 0.25, True, key=key)[0].numpy())
    assert not np.array_equal(out, TABLE["native_dropout"](x, 0.25, True, key=tf.constant([3, 6]))[0].numpy())
    assert abs(TABLE["bernoulli"](x * 0.3, key=key).numpy().mean() - 0.3) < 0.01
    assert abs(TABLE["bernoulli"](x, 0.3, key=key).numpy().mean() - 0.3) < 0.01
    assert abs(TABLE["rand"]([200, 300], key=key).numpy().mean() - 0.5) < 0.01
    normal = TABLE["randn"]([200, 300], key=key).numpy()
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    assert set(np.unique(TABLE["randint"](2, 5, [200], key=key).numpy())) == {2, 3, 4}
    assert TABLE["empty"]([2, 3]).shape == (2, 3)
    v = tf.random.stateless_normal([1, 2, 40, 8], [1, 2])
    plain = TABLE["scaled_dot_product_attention"](v, v, v).numpy()
    drawn = np.stack(
        [TABLE["scaled_dot_product_attention"](v, v, v, None, 0.3, key=tf.constant([i, 1])) for i in range(400)]
    )
    assert np.abs(drawn.mean(0) - plain).max() < 0.3 and np.abs(drawn[0] - plain).max() > 0.05
