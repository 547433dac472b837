"""Arguments for every op of :mod:`catalog.ports.ops`, in PyTorch's form: what each framework's table is tested on.

``SAMPLES`` maps an op with its overload to lists of arguments; ``kw(...)`` at the end holds the keyword ones.
"""

import torch

_generator = torch.Generator().manual_seed(0)


def x(*shape, low=None, high=None, dtype=torch.float32):
    """Normal numbers, or uniform ones in [low, high)."""
    if low is None:
        return torch.randn(shape, generator=_generator).to(dtype)
    return (torch.rand(shape, generator=_generator) * (high - low) + low).to(dtype)


def whole(*shape, high=5, low=0, dtype=torch.int64):
    """Whole numbers in [low, high)."""
    return torch.randint(low, high, shape, generator=_generator).to(dtype)


def flags(*shape):
    """Booleans."""
    return torch.rand(shape, generator=_generator) > 0.4


def distinct(*shape):
    """Numbers of which no two are equal, so that orders and extremes have one answer."""
    count = int(torch.tensor(shape).prod())
    return (torch.randperm(count, generator=_generator).float() / count - 0.5).reshape(shape)


def still(tensor):
    """A tensor that PyTorch gives no gradient for here."""
    tensor.still = True
    return tensor


def square():
    """Invertible matrices."""
    return x(2, 3, 3) + 3 * torch.eye(3)


class kw(dict):
    """Keyword arguments."""


UNIT = [
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "atan",
    "asinh",
    "erf",
    "sigmoid",
    "exp",
    "expm1",
    "neg",
    "abs",
    "floor",
    "ceil",
    "trunc",
    "sign",
]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"]
INSIDE = ["asin", "acos", "atanh"]
ACTIVATIONS = [
    "relu",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "log_sigmoid",
    "softplus",
    "leaky_relu",
    "elu",
    "gelu",
    "hardtanh",
]

SAMPLES: dict[str, list[list]] = {
    **{f"{name}": [[x(3, 4)], [x(2, 3, dtype=torch.bfloat16)] if name in ("abs", "neg", "tanh") else [x(5)]] for name in UNIT},
    **{name: [[x(3, 4, low=0.3, high=3.0)]] for name in POSITIVE},
    **{name: [[x(3, 4, low=-0.8, high=0.8)]] for name in INSIDE},
    **{name: [[x(4, 5) * 3]] for name in ACTIVATIONS},
    "acosh": [[x(4, low=1.2, high=3.0)]],
    "round": [[x(4) * 3]],
    "gelu": [[x(4, 5)], [x(4, 5), kw(approximate="tanh")]],
    "leaky_relu": [[x(9)], [x(9), 0.2]],
    "elu": [[x(9)], [x(9) * 40], [x(9), 0.7, 1.2, 0.5]],
    "softplus": [[x(9)], [x(9) * 30, 2.0, 20.0]],
    "hardtanh": [[x(9) * 2], [x(9) * 4, 0.0, 6.0]],
    "isnan": [[torch.tensor([1.0, float("nan")])]],
    "isinf": [[torch.tensor([1.0, float("inf"), -float("inf")])]],
    "logical_not": [[flags(4)], [whole(4, high=2)]],
    "bitwise_not": [[flags(4)], [whole(4)]],
    "add.Tensor": [
        [x(3, 4), x(4)], [x(3), whole(3)], [whole(3), 2], [whole(3), x()], [x(3), x(3), kw(alpha=2)],
        [flags(3), flags(3)],
    ],
    "sub.Tensor": [[x(3, 4), x(4)], [whole(3), 1], [x(3), x(3), kw(alpha=0.5)]],
    "mul.Tensor": [
        [x(3, 4), x(3, 1)], [flags(3), x(3)], [x(3, dtype=torch.bfloat16), x()], [whole(3), 1.5],
        [flags(3), flags(3)],
    ],
    "div.Tensor": [[x(3), x(3, low=1, high=2)], [whole(4, low=1), whole(4, low=1)], [whole(4), 2]],
    "div.Tensor_mode": [
        [x(6) * 5, x(6, low=1, high=2), kw(rounding_mode="floor")], [x(6) * 5, 2.0, kw(rounding_mode="trunc")],
        [whole(6, low=-9, high=9), 4, kw(rounding_mode="floor")], [whole(6, low=-9, high=9), 4, kw(rounding_mode="trunc")],
    ],
    "remainder.Tensor": [[whole(6, low=-9, high=9), whole(6, low=1)]],
    "remainder.Scalar": [[x(6) * 5, 2.0], [whole(6, low=-9, high=9), 4]],
    "fmod.Tensor": [[x(6) * 5, x(6, low=1, high=2)]],
    "pow.Tensor_Scalar": [[x(4), 2], [x(4), 3.0], [x(4, low=0.2, high=2.0), -0.5], [whole(4), 2]],
    "pow.Tensor_Tensor": [[x(4, low=0.2, high=2.0), x(4)]],
    "pow.Scalar": [[1.7, x(4)]],
    "atan2": [[x(4), x(4)]],
    "maximum": [[x(4, 3), x(3)]],
    "minimum": [[x(4, 3), x(3)], [whole(4), whole(4)]],
    **{f"{name}.Tensor": [[whole(6), whole(6)], [x(2, 3), x(3)]] for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "eq.Scalar": [[whole(6), 2]],
    "ne.Scalar": [[whole(6), -100]],
    "gt.Scalar": [[whole(6), 1.5]],
    **{name: [[flags(6), flags(6)]] for name in ("logical_and", "logical_or", "logical_xor")},
    **{f"{name}.Tensor": [[flags(6), flags(6)], [whole(6), whole(6)]] for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    "bitwise_left_shift.Tensor": [[whole(6), whole(6, high=3)]],
    "bitwise_right_shift.Tensor": [[whole(6, high=64), whole(6, high=3)]],
    "clamp": [[x(8), -0.5, 0.5], [x(8), None, 0.3], [whole(8, low=-5), 0], [torch.tensor([-1.0, 0.0, 1.0]), -1.0, 1.0]],
    "clamp.Tensor": [[x(8), x(8) - 1, x(8) + 1]],
    "where.self": [[flags(3, 4), x(3, 4), x(4)], [flags(3), x(3), whole(3)]],
    "where.ScalarOther": [[flags(3, 4), x(3, 4), 0.5]],
    "masked_fill.Scalar": [[x(3, 4), flags(4), -1e4], [x(2, 3, dtype=torch.bfloat16), flags(2, 3), 0.0]],
    "_to_copy": [
        [x(4) * 3, kw(dtype=torch.int64)], [flags(4), kw(dtype=torch.float32)], [x(4), kw(dtype=torch.bfloat16)],
        [whole(4), kw(dtype=torch.bool)],
    ],
    "detach": [[x(4)]],
    "complex": [[x(4), x(4)]],
    "view_as_complex": [[x(4, 2)]],
    "view_as_real": [[torch.complex(x(4), x(4))]],
    "view": [[x(3, 4), [2, -1]], [x(3, 4), [12]]],
    "squeeze": [[x(1, 3, 1)]],
    "squeeze.dim": [[x(1, 3, 1), -1], [x(1, 3), 1]],
    "squeeze.dims": [[x(1, 3, 1), [0, 2]]],
    "unsqueeze": [[x(3), 0], [x(3), -1]],
    "expand": [[x(3, 1), [2, 3, 4]], [x(3, 1), [-1, 5]]],
    "permute": [[x(2, 3, 4), [2, 0, 1]], [x(2, 3, 4), [0, -1, 1]]],
    "cat": [[[x(2, 3), x(2, 4)], 1], [[x(2), x(3)]]],
    "stack": [[[x(2, 3), x(2, 3)], -1], [[x(2), x(2)]]],
    "split_with_sizes": [[x(6, 2), [1, 2, 3]], [x(2, 6), [4, 2], -1]],
    "split.Tensor": [[x(7, 2), 3], [x(2, 6), 2, 1]],
    "unbind.int": [[x(3, 2)], [x(3, 2), -1]],
    "select.int": [[x(3, 4), 1, -1], [x(3, 4), 0, 1]],
    "slice.Tensor": [[x(5, 4), 0, 1, 4, 2], [x(5, 4), -1, -3], [x(5, 4), 1, 0, 99], [x(5), 0, -99, -1]],
    "index.Tensor": [
        [x(4, 5), [whole(3, high=4)]], [x(4, 5), [None, whole(2, 3, high=5)]],
        [x(4, 5, 6), [whole(3, 1, high=4), whole(2, high=5)]],
    ],
    "gather": [[x(4, 5), 1, whole(4, 3, high=5)], [x(4, 5), 0, whole(2, 3, high=4)]],
    "index_select": [[x(4, 5), 1, whole(3, high=5)]],
    "scatter.src": [[x(4, 5), 1, torch.tensor([[0, 2], [1, 3], [4, 0]]), still(x(4, 5))]],
    "scatter.value": [[x(4, 5), 1, torch.tensor([[0], [2], [1], [4]]), 7.0]],
    "scatter_add": [[x(4, 5), 1, whole(4, 3, high=5), x(4, 3)]],
    "scatter_reduce.two": [
        [x(5), 0, whole(8, high=5), distinct(8), how] for how in ("sum", "mean", "amax", "amin")
    ] + [[x(5), 0, torch.tensor([0, 0, 1]), distinct(3), "mean", kw(include_self=False)],
         [still(x(5)), 0, whole(8, high=5), still(distinct(8)), "prod"]],
    "index_put": [
        [x(4, 5), [torch.tensor([0, 2])], x(2, 5)], [x(4, 5), [whole(6, high=4)], x(6, 5), True],
        [x(4, 5), [None, torch.tensor([1, 3])], x(4, 2)], [x(4, 5), [flags(4, 5)], x()],
    ],
    "index_add": [[x(4, 5), 1, whole(3, high=5), x(4, 3)], [x(4), 0, whole(3, high=4), x(3), kw(alpha=0.5)]],
    "index_copy": [[x(4, 5), 0, torch.tensor([2, 0]), x(2, 5)]],
    "index_fill.int_Scalar": [[x(4, 5), 1, torch.tensor([1, 4]), 2.0]],
    "select_scatter": [[x(4, 5), x(4), 1, 2]],
    "slice_scatter": [[x(4, 5), x(4, 2), 1, 1, 3], [x(4, 5), x(2, 5), 0, 0, 99, 2]],
    "masked_scatter": [[x(3, 4), flags(3, 4), x(12)]],
    "repeat": [[x(2, 3), [2, 1]], [x(3), [2, 2]]],
    "repeat_interleave.self_int": [[x(2, 3), 2, 1], [x(2, 3), 3]],
    "roll": [[x(4, 5), [1, -2], [0, 1]], [x(2, 3), [2]]],
    "flip": [[x(3, 4), [0, -1]]],
    "as_strided": [[x(12), [3, 4], [4, 1]], [x(12), [3, 4], [2, 1], 1]],
    "constant_pad_nd": [[x(2, 3), [1, 2]], [x(2, 3), [1, 0, -1, 2], 5.0]],
    "reflection_pad1d": [[x(2, 3, 5), [2, 1]]],
    "reflection_pad2d": [[x(1, 2, 4, 5), [1, 2, 3, 0]]],
    "replication_pad1d": [[x(2, 3, 5), [2, 1]]],
    "replication_pad2d": [[x(1, 2, 4, 5), [1, 2, 3, 0]]],
    "pixel_shuffle": [[x(2, 8, 3, 4), 2]],
    "tril": [[x(4, 5)], [x(2, 4, 4), -1]],
    "triu": [[x(4, 5), 1]],
    "diagonal": [[x(4, 5)], [x(2, 4, 5), 1, 1, 2]],
    "unfold": [[x(3, 9), 1, 4, 2]],
    "im2col": [[x(2, 3, 6, 7), [2, 3], [1, 2], [1, 0], [2, 1]]],
    "col2im": [
        [x(2, 12, 12), [4, 5], [2, 2], [1, 1], [0, 0], [1, 1]], [x(1, 8, 9), [5, 6], [2, 2], [1, 1], [1, 0], [2, 2]],
    ],
    "full": [[[2, 3], 1.5], [[2], 3], [[2], True], [[2], 1, kw(dtype=torch.float32)]],
    "full_like": [[x(3), 2], [whole(3), 2.0, kw(dtype=torch.float32)]],
    "arange": [[5], [5.5]],
    "arange.start": [[2, 7]],
    "arange.start_step": [[7, 1, -2], [0, 3, kw(dtype=torch.float32)]],
    "scalar_tensor": [[2.5], [2, kw(dtype=torch.int64)]],
    "copy": [[still(x(3, 4)), still(x(4))], [whole(3), x(3) * 4]],
    "sum": [[x(3, 4)], [flags(5)]],
    "sum.dim_IntList": [[x(3, 4), [1]], [x(3, 4), [0, 1], True], [x(3, 4), []], [whole(3, 4), [0]]],
    "mean": [[x(3, 4)]],
    "mean.dim": [[x(3, 4, 5), [0, -1], True]],
    "prod": [[x(5)]],
    "prod.dim_int": [[x(3, 4), 1]],
    "var.correction": [[x(3, 4), [1]], [x(3, 4), [0, 1], kw(correction=0, keepdim=True)], [x(7)]],
    "std.correction": [[x(3, 4), [1], kw(correction=0)]],
    "amax": [[distinct(3, 4), [1]], [distinct(3, 4), [0, 1], True], [torch.tensor([1.0, 1.0, 0.0]), [0]], [x(3)]],
    "amin": [[distinct(3, 4), [1]]],
    "max.dim": [[distinct(3, 4), 1], [torch.tensor([[1.0, 1.0]]), -1, True]],
    "min.dim": [[distinct(3, 4), 0]],
    "argmax": [[distinct(3, 4)], [whole(3, 4, high=2), -1], [distinct(3, 4), 0, True]],
    "argmin": [[distinct(3, 4), 1]],
    "all": [[flags(4)]],
    "all.dim": [[flags(4, 2), 1, True]],
    "any": [[flags(4)]],
    "any.dim": [[flags(4, 2), 0]],
    "cumsum": [[x(3, 4), 1], [flags(5), 0]],
    "cumprod": [[x(3, 4), 1]],
    "logsumexp": [[x(3, 4), [1], True]],
    "linalg_vector_norm": [
        [x(3, 4)], [x(3, 4), 2, [1], True], [x(3, 4), 1, [0]], [x(4), float("inf")], [torch.zeros(3), 2, [0]],
    ],
    "sort": [[distinct(3, 4)], [distinct(3, 4), 0, True]],
    "sort.stable": [[whole(9, high=3), kw(stable=True, dim=0, descending=False)]],
    "topk": [[distinct(3, 6), 2], [distinct(6, 3), 2, 0, False]],
    "softmax.int": [[x(3, 4), -1], [x(3, 4), 0, torch.float32]],
    "log_softmax.int": [[x(3, 4) * 9, -1]],
    "linear": [[x(2, 3, 4), x(5, 4), x(5)], [x(3, 4), x(5, 4)]],
    "mm": [[x(3, 4), x(4, 5)]],
    "bmm": [[x(2, 3, 4), x(2, 4, 5)]],
    "matmul": [[x(2, 3, 4), x(4, 5)], [x(4), x(4)], [x(2, 1, 3, 4), x(5, 4, 2)]],
    "addmm": [[x(5), x(3, 4), x(4, 5)], [x(3, 5), x(3, 4), x(4, 5), kw(beta=0.5, alpha=2)]],
    "einsum": [["bhtd,bhsd->bhts", [x(2, 3, 4, 5), x(2, 3, 6, 5)]], ["i,j->ij", [x(2), x(3)]]],
    "embedding": [[x(9, 4), whole(2, 3, high=9)], [x(9, 4), torch.tensor([[0, 3, 0]]), 0]],
    "layer_norm": [
        [x(2, 3, 4), [4], x(4), x(4), 1e-5, False], [x(2, 3, 4), [3, 4]], [x(2, 4, dtype=torch.bfloat16), [4]],
    ],
    "native_layer_norm": [[x(2, 3, 4), [4], x(4), x(4), 1e-5]],
    "native_group_norm": [[x(2, 6, 4, 5), x(6), x(6), 2, 6, 20, 3, 1e-5], [x(2, 6, 4), None, None, 2, 6, 4, 2, 1e-5]],
    "_native_batch_norm_legit_no_training": [
        [x(3, 4, 5), x(4), x(4), still(x(4)), still(x(4, low=0.5, high=2.0)), 0.1, 1e-5],
    ],
    "_native_batch_norm_legit_functional": [
        [x(3, 4, 5), x(4), x(4), still(x(4)), still(x(4, low=0.5, high=2.0)), True, 0.1, 1e-5],
    ],
    "_native_batch_norm_legit.no_stats": [[x(3, 4, 5), x(4), x(4), True, 0.1, 1e-5]],
    "scaled_dot_product_attention": [
        [x(2, 4, 5, 8), x(2, 4, 6, 8), x(2, 4, 6, 8)],
        [x(2, 4, 5, 8), x(2, 4, 5, 8), x(2, 4, 5, 8), None, 0.0, True],
        [
            x(2, 4, 5, 8), x(2, 4, 6, 8), x(2, 4, 6, 8), torch.ones(2, 1, 5, 6, dtype=torch.bool).tril(-1), 0.0, False,
            kw(scale=0.5),
        ],
        [x(2, 4, 5, 8), x(2, 2, 6, 8), x(2, 2, 6, 8), x(2, 1, 5, 6), 0.0, False, kw(enable_gqa=True)],
    ],
    "convolution": [
        [x(2, 4, 9), x(6, 4, 3), x(6), [2], [1], [1], False, [0], 1],
        [x(2, 4, 7, 8), x(6, 2, 3, 2), None, [1, 2], [1, 0], [2, 1], False, [0, 0], 2],
        [x(2, 4, 5, 6), x(4, 1, 3, 3), x(4), [1, 1], [1, 1], [1, 1], False, [0, 0], 4],
        [x(2, 4, 5, 6), x(4, 3, 3, 2), x(3), [2, 3], [1, 0], [1, 1], True, [1, 0], 1],
        [x(2, 4, 7), x(4, 3, 4), x(6), [2], [1], [2], True, [0], 2],
        [x(1, 2, 4, 5, 6), x(3, 2, 2, 2, 2), x(3), [1, 2, 2], [0, 0, 0], [1, 1, 1], False, [0, 0, 0], 1],
    ],
    "max_pool2d_with_indices": [
        [distinct(1, 2, 7, 8), [3, 2], [2, 2], [1, 1]], [distinct(1, 2, 7, 7), [2, 2], [2, 2], 0, 1, True],
    ],
    "avg_pool1d": [[x(2, 3, 9), [3], [2], [1]]],
    "avg_pool2d": [
        [x(1, 2, 7, 8), [3, 2], [2, 2], [1, 1], True, False], [x(1, 2, 7, 7), [2, 2], [2, 2], [1, 1], True],
        [x(1, 2, 6, 6), [2, 2], [2, 2], [0, 0], False, True, 3],
    ],
    "avg_pool3d": [[x(1, 2, 4, 4, 4), [2, 2, 2]]],
    "adaptive_avg_pool1d": [[x(2, 3, 10), [4]]],
    "_adaptive_avg_pool2d": [[x(1, 2, 7, 8), [1, 1]], [x(1, 2, 7, 8), [3, 4]]],
    "upsample_nearest1d": [[x(1, 2, 5), [8]]],
    "upsample_nearest2d": [[x(1, 2, 4, 5), [7, 10]]],
    "upsample_nearest2d.vec": [[x(1, 2, 4, 5), None, [2.0, 2.0]]],
    "upsample_linear1d": [[x(1, 2, 5), [8], False]],
    "upsample_bilinear2d": [[x(1, 2, 4, 5), [7, 10], False], [x(1, 2, 4, 5), [7, 3], True]],
    "upsample_bilinear2d.vec": [[x(1, 2, 4, 5), None, False, [1.5, 2.0]]],
    "upsample_bicubic2d": [[x(1, 2, 4, 5), [7, 10], False], [x(1, 2, 6, 6), [3, 4], True]],
    "grid_sampler_2d": [
        [x(2, 3, 5, 6), x(2, 4, 3, 2, low=-1.2, high=1.2), 0, padding, corners]
        for padding in (0, 1) for corners in (True, False)
    ],
    "cross_entropy_loss": [
        [x(6, 5), torch.tensor([0, 1, -100, 4, 2, 2])], [x(6, 5), whole(6), None, 2],
        [x(2, 5, 3), whole(2, 3), still(x(5, low=0.5, high=2.0)), 1],
        [x(6, 5), torch.tensor([0, 1, -100, 4, 2, 2]), None, 1, -100, 0.1], [x(6, 5), x(6, 5).softmax(-1), None, 0],
    ],
    "mse_loss": [[x(4), x(4)], [x(4), x(4), 2], [x(4), x(4), 0]],
    "binary_cross_entropy_with_logits": [
        [x(4), flags(4).float()], [x(4, 3), flags(4, 3).float(), None, still(x(3, low=0.5, high=2.0)), 2],
    ],
    "_fft_r2c": [[x(3, 8), [1], 0, True], [x(3, 8), [0, 1], 2, False]],
    "_fft_c2c": [[torch.complex(x(3, 8), x(3, 8)), [0, 1], 1, True], [torch.complex(x(3, 8), x(3, 8)), [1], 0, False]],
    "_fft_c2r": [[torch.complex(x(3, 5), x(3, 5)), [1], 2, 8]],
    "linalg_inv_ex": [[square()]],
}  # fmt: skip

# Not compared: what they give has no one answer. Sizes are Python numbers.
UNCOMPARED = {"empty", "native_dropout", "bernoulli", "rand", "randn", "randint", "exponential"}
