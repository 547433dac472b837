"""Every op of the TensorFlow table is PyTorch's: values and gradients, on tensors whose sizes the graph does not know."""

import numpy as np
import pytest
import torch

from catalog.ports import ops

pytest.importorskip("tensorflow")

import tensorflow as tf

from catalog.ports.lower_tf import TABLE
from catalog.ports.lower_tf.elementwise import dtype_of
from tests.support import op_samples, op_torch

# Their sizes decide what is computed, so a program knows them.
KNOWN = {
    "convolution", "adaptive_avg_pool1d", "_adaptive_avg_pool2d", "unbind.int", "squeeze.dim", "squeeze.dims", "squeeze",
    "split.Tensor", "cat", "native_group_norm", "scaled_dot_product_attention", "_fft_c2r", "_fft_r2c", "_fft_c2c",
    "max_pool2d_with_indices", "avg_pool2d",
}  # fmt: skip


def test_the_table_is_the_list():
    assert set(TABLE) == ops.OPS


def _tf(tensor):
    if tensor.dtype == torch.bfloat16:
        return tf.cast(tensor.float().numpy(), tf.bfloat16)
    return tf.constant(tensor.detach().numpy())


def _compare(got, tensor, name):
    wide = tf.cast(got, tf.float32) if got.dtype == tf.bfloat16 else got
    op_torch.close(wide.numpy(), got.dtype.name, tensor, name)


@pytest.mark.parametrize("name, number", op_samples.EACH, ids=[f"{name}-{i}" for name, i in op_samples.EACH])
def test_op(name, number):
    wanted = op_torch.wanted(name, number)
    table = TABLE[ops.base(name)]

    def function(*given):
        rest = iter(given)
        named = {key: op_torch.replaced(value, _tf, dtype_of) for key, value in wanted.kwargs.items()}
        with tf.GradientTape() as tape:
            learned = [given[place] for place in wanted.learn]
            tape.watch(learned)
            made = table(*op_torch.replaced(wanted.args, lambda _: next(rest), dtype_of), **named)
            made = [made] if wanted.single else list(made)
            total = tf.reduce_sum(made[0] * wanted.weight.numpy()) if learned else tf.zeros([])
            total = tf.abs(total) if total.dtype.is_complex else total
        gradients = tape.gradient(total, learned) if learned else []
        return made, [tf.zeros_like(t) if g is None else tf.convert_to_tensor(g) for t, g in zip(learned, gradients)]

    fed = [_tf(t) for t in op_torch.tensors(wanted.args)]
    unknown = name not in KNOWN and not name.startswith("upsample")
    specs = [tf.TensorSpec([None if n > 1 and unknown else n for n in t.shape], t.dtype) for t in fed]
    got, gradients = tf.function(function, input_signature=specs)(*fed)
    assert len(got) >= len(wanted.outputs)
    for one, other in zip(got, wanted.outputs):
        if other.numel():
            _compare(one, other, name)
    for gradient, other in zip(gradients, wanted.gradients):
        _compare(gradient, other, f"gradient of {name}")


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
