"""Calls of every op of the TensorFlow table, as PyTorch would make them: arguments at which no gradient stands on a tie."""

import math

import numpy as np
import torch

INF = float("inf")


def real(*shape, low=-2.0, high=2.0, seed=0):
    """Numbers of both signs that lie apart, so that no gradient stands on a tie."""
    count = math.prod(shape)
    order = np.random.default_rng(seed).permutation(count)
    return torch.tensor(low + (high - low) * (order + 0.37) / max(count, 1), dtype=torch.float32).reshape(shape)


def whole(*shape, low=0, high=5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, shape))


def truth(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < 0.5)


X, Y, P = real(3, 4), real(3, 4, seed=1), real(3, 4, low=0.2, high=0.9)
CUBE, IMAGE = real(2, 3, 4), real(2, 4, 6, 5)
COMPLEX = torch.complex(X, Y)
SPD = real(2, 3, 3) + 4 * torch.eye(3)

CASES: dict[str, list] = {}


def case(op, *args, **kwargs):
    """One call of an op by its full name; arguments are PyTorch's."""
    CASES.setdefault(op, []).append((args, kwargs))


for name in [
    "abs", "neg", "sign", "ceil", "floor", "round", "trunc", "exp", "expm1", "sin", "cos", "tan", "sinh", "cosh",
    "tanh", "asinh", "atan", "erf", "sigmoid", "relu", "silu", "mish", "log_sigmoid", "hardswish", "hardsigmoid",
    "detach", "isnan", "isinf",
]:  # fmt: skip
    case(name, X)
for name in ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "asin", "acos", "atanh"]:
    case(name, P)
case("acosh", P + 1.5)
for name in ["exp", "sqrt", "rsqrt", "sigmoid"]:
    case(name, whole(3, 4) + 1)
case("round.decimals", X, decimals=1)
case("bitwise_not", whole(3, 4))
case("bitwise_not", truth(3, 4))
case("logical_not", truth(3, 4))
for name in ["add", "sub"]:
    case(f"{name}.Tensor", X, Y)
    case(f"{name}.Tensor", X, Y[0], alpha=3)
    case(f"{name}.Tensor", whole(3, 4), X)
    case(f"{name}.Tensor", X, 2)
case("add.Tensor", truth(3, 4), truth(3, 4, seed=1))
for name in ["mul", "div"]:
    case(f"{name}.Tensor", X, Y)
    case(f"{name}.Tensor", X, 2.5)
    case(f"{name}.Tensor", whole(3, 4), whole(3, 4, seed=1) + 1)
case("mul.Tensor", truth(3, 4), X)
for mode in ("floor", "trunc"):
    case("div.Tensor_mode", X, Y, rounding_mode=mode)
    case("div.Tensor_mode", whole(3, 4, low=-9), whole(3, 4, low=1, seed=1), rounding_mode=mode)
for name in ["remainder", "fmod"]:
    case(f"{name}.Tensor", X, P)
    case(f"{name}.Scalar", whole(3, 4, low=-9), 3)
for power in (2, 3, 0.5, -1.0):
    case("pow.Tensor_Scalar", P, power)
case("pow.Tensor_Tensor", P, X)
case("pow.Scalar", 2.0, X)
case("atan2", X, Y)
for name in ["maximum", "minimum"]:
    case(name, X, Y)
    case(name, X, X.clone())
    case(name, whole(3, 4), whole(3, 4, seed=1))
for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
    case(f"{name}.Tensor", whole(3, 4), whole(3, 4, seed=1))
    case(f"{name}.Scalar", X, 0.5)
for name in ["logical_and", "logical_or", "logical_xor"]:
    case(name, truth(3, 4), truth(3, 4, seed=1))
for name in ["bitwise_and", "bitwise_or", "bitwise_xor"]:
    case(f"{name}.Tensor", whole(3, 4), whole(3, 4, seed=1))
    case(f"{name}.Tensor", truth(3, 4), truth(3, 4, seed=1))
for name in ["bitwise_left_shift", "bitwise_right_shift"]:
    case(f"{name}.Tensor", whole(3, 4), whole(3, 4, seed=1))
case("clamp", X, -0.5, 0.5)
case("clamp", X, None, float(X[0, 0]))
case("clamp", whole(3, 4), 1)
case("where.self", truth(3, 4), X, Y)
case("where.self", truth(3, 4), X, torch.tensor(0.0))
case("masked_fill.Scalar", X, truth(3, 4), -INF)
case("leaky_relu", X, 0.1)
for args in ((), (0.7,), (1.0, 1.3, 0.8)):
    case("elu", X, *args)
case("gelu", X)
case("gelu", X, approximate="tanh")
case("softplus", X)
case("softplus", X, 3.0, 2.0)
case("hardtanh", X, -0.7, 0.9)
case("_to_copy", X, dtype=torch.int64)
case("_to_copy", whole(3, 4), dtype=torch.float32)
case("view_as_real", COMPLEX)
case("view_as_complex", real(3, 4, 2))
case("complex", X, Y)

case("view", X, [2, 6])
case("view", X, [-1])
case("view.dtype", X, torch.int32)
case("squeeze.dim", real(3, 1, 4), 1)
case("squeeze.dim", X, 1)
case("squeeze.dims", real(1, 3, 1), [0, -1])
case("squeeze", real(1, 3, 1))
case("unsqueeze", X, -1)
case("expand", real(3, 1), [2, 3, 4])
case("expand", real(3, 1), [-1, 4])
case("permute", CUBE, [2, 0, 1])
case("cat", [X, Y], 1)
case("cat", [X, torch.empty(0)])
case("stack", [X, Y], 1)
case("split_with_sizes", CUBE, [1, 3], -1)
case("split.Tensor", CUBE, 3, -1)
case("unbind.int", CUBE, 1)
case("select.int", CUBE, 1, -1)
case("slice.Tensor", CUBE, 2, 1, 4, 2)
case("slice.Tensor", CUBE, 1, -2, 2**63 - 1)
case("slice.Tensor", CUBE, 1, None, -1)
case("index.Tensor", CUBE, [whole(5, high=2)])
case("index.Tensor", CUBE, [None, whole(2, 2, low=-3, high=3)])
case("index.Tensor", CUBE, [None, whole(5, high=3), whole(5, high=4)])
case("index.Tensor", CUBE, [whole(5, 1, high=2), None, whole(3, high=4)])
case("gather", CUBE, 1, whole(2, 2, 3, high=3))
case("index_select", CUBE, 1, whole(5, high=3))
case("scatter.src", X, 1, torch.tensor([[0, 2], [3, 1]]), Y[:2, :2])
case("scatter.value", X, 0, torch.tensor([[0, 2, 1]]), 1.5)
case("scatter.reduce", X, 0, torch.tensor([[0, 0, 1]]), Y[:1, :3], reduce="add")
case("scatter.reduce", X, 0, torch.tensor([[0, 0, 1], [0, 1, 2]]), Y[:2, :3], reduce="multiply")
case("scatter_add", X, 1, whole(3, 3, high=4), Y[:, :3])
for reduce in ["sum", "mean", "amax", "amin", "prod"]:
    case("scatter_reduce.two", X, 1, torch.tensor([[0, 2, 0], [1, 1, 3], [0, 3, 1]]), Y[:, :3], reduce)
for reduce in ["sum", "mean", "amax"]:
    case(
        "scatter_reduce.two",
        X,
        1,
        torch.tensor([[0, 2, 0], [1, 1, 3], [0, 3, 1]]),
        Y[:, :3],
        reduce,
        include_self=False,
    )
case("index_put", X, [truth(3, 4)], torch.tensor(9.0))
case("index_put", X, [torch.tensor([2, 0]), torch.tensor([1, 3])], real(2))
case("index_put", X, [torch.tensor([0, 0])], real(2, 4), True)
case("index_put", CUBE, [None, torch.tensor([2, 0])], real(2, 2, 4))
case("index_add", CUBE, 1, torch.tensor([0, 0, 2]), real(2, 3, 4, seed=3), alpha=2)
case("index_copy", CUBE, 1, torch.tensor([2, 0]), real(2, 2, 4, seed=3))
case("index_fill.int_Scalar", CUBE, 1, torch.tensor([2, 0]), 1.5)
case("select_scatter", CUBE, real(2, 4, seed=3), 1, -1)
case("slice_scatter", CUBE, real(2, 3, 2, seed=3), 2, 1, 4, 2)
case("masked_scatter", X, truth(3, 4), Y)
case("repeat", X, [2, 1, 3])
case("repeat_interleave.self_int", X, 2, 1)
case("repeat_interleave.self_int", X, 2)
case("roll", CUBE, [1, -2], [1, 2])
case("roll", CUBE, [3])
case("flip", CUBE, [0, 2])
case("as_strided", CUBE, [2, 3], [4, 2], 1)
case("constant_pad_nd", CUBE, [1, 2, 0, 1], 0.5)
case("constant_pad_nd", CUBE, [-1, 2])
case("constant_pad_nd", truth(3, 4), [1, 2], 0.0)
case("reflection_pad1d", CUBE, [2, 1])
case("replication_pad1d", CUBE, [2, 1])
case("reflection_pad2d", IMAGE, [2, 1, 1, 3])
case("replication_pad2d", IMAGE, [2, 1, 1, 3])
case("pixel_shuffle", real(2, 8, 3, 2), 2)
case("tril", CUBE, 1)
case("triu", CUBE, -1)
case("diagonal", CUBE, 1, 1, 2)
case("diagonal", CUBE, -1)
case("unfold", CUBE, 2, 2, 1)
case("unfold", CUBE, 1, 2, 1)
case("full", [2, 3], 1.5)
case("full", [2], 7)
case("full_like", X, 2)
case("arange", 5)
case("arange.start_step", 1, 9, 3)
case("arange.start", 0.5, 3.0)
case("scalar_tensor", 2.5)
case("copy", X, Y[:1])

for name in ["mean", "sum"]:
    case(name, X)
    case(f"{name}.{'dim' if name == 'mean' else 'dim_IntList'}", CUBE, [0, -1], True)
case("sum", truth(3, 4))
case("prod", X)
case("prod.dim_int", X, 1)
for name in ["var", "std"]:
    case(f"{name}.correction", CUBE, [1, 2])
    case(f"{name}.correction", CUBE, [-1], correction=0, keepdim=True)
for name in ["amax", "amin"]:
    case(name, CUBE, [1, 2], True)
    case(name, X)
for name in ["max.dim", "min.dim"]:
    case(name, CUBE, 1)
    case(name, CUBE, -1, True)
for name in ["argmax", "argmin"]:
    case(name, CUBE, 1, True)
    case(name, CUBE)
for name in ["all", "any"]:
    case(name, truth(3, 4))
    case(f"{name}.dim", truth(3, 4), 1)
case("cumsum", X, 1)
case("cumsum", truth(3, 4), 0)
case("cumprod", X, 1)
case("logsumexp", CUBE, [1, 2])
for order in (0, 1, 2, 3, INF, -INF):
    case("linalg_vector_norm", X, order, [1], True)
case("linalg_vector_norm", torch.zeros(2, 3))
case("sort", CUBE, 1, True)
case("topk", CUBE, 2, 1)
case("topk", CUBE, 2, -1, False)
case("softmax.int", CUBE, 1)
case("log_softmax.int", CUBE, -1)

case("linear", CUBE, real(5, 4), real(5))
case("linear", X, real(5, 4))
case("mm", X, real(4, 2))
case("bmm", CUBE, real(2, 4, 5))
case("matmul", CUBE, real(4))
case("matmul", real(4), real(4, 2))
case("matmul", real(3, 2, 2, 4), real(2, 4, 3))
case("addmm", real(5), X, real(4, 5), beta=0.5, alpha=2)
case("einsum", "bij,bjk->bik", [CUBE, real(2, 4, 5)])
case("embedding", real(7, 4), whole(2, 3, high=7), 2)
case("embedding", real(7, 4), whole(2, 3, high=7))
case("layer_norm", CUBE, [4], real(4), real(4, seed=1), 1e-5)
case("layer_norm", CUBE, [3, 4])
case("native_layer_norm", CUBE, [4], real(4), None, 1e-5)
case("native_group_norm", IMAGE, real(4), real(4, seed=1), 2, 4, 30, 2, 1e-5)
STATISTICS = (real(4), real(4, seed=1), real(4, seed=2), real(4, low=0.5, high=2.0))
case("_native_batch_norm_legit_no_training", IMAGE, *STATISTICS, 0.1, 1e-5)
case("_native_batch_norm_legit_functional", IMAGE, *STATISTICS, True, 0.1, 1e-5)
case("_native_batch_norm_legit.no_stats", IMAGE, real(4), real(4, seed=1), True, 0.1, 1e-5)
Q, K = real(2, 4, 3, 6), real(2, 2, 5, 6, seed=1)
case("scaled_dot_product_attention", Q, Q * 0.7, Q + 1)
case("scaled_dot_product_attention", Q, Q * 0.7, Q + 1, None, 0.0, True)
case("scaled_dot_product_attention", Q, K, K + 1, truth(3, 5), enable_gqa=True, scale=0.3)
case("scaled_dot_product_attention", Q, K, K + 1, torch.zeros(3, 5, dtype=torch.bool), enable_gqa=True)
case("scaled_dot_product_attention", Q, Q * 0.7, Q + 1, real(2, 1, 3, 3))


def convolution(x, weight, stride, padding, dilation=1, transposed=False, output=0, groups=1):
    dims = weight.ndim - 2
    bias = real(weight.shape[1] * groups if transposed else weight.shape[0])
    case(
        "convolution",
        x,
        weight,
        bias,
        *([n] * dims for n in (stride, padding, dilation)),
        transposed,
        [output] * dims,
        groups,
    )


convolution(real(2, 4, 9), real(6, 4, 3), 2, 1)
convolution(real(2, 4, 9), real(6, 2, 3), 1, 2, 2, groups=2)
convolution(IMAGE, real(6, 4, 3, 2), 1, 1)
convolution(IMAGE, real(6, 4, 2, 2), 2, 0, 2)
convolution(IMAGE, real(4, 1, 3, 3), 1, 1, groups=4)
convolution(IMAGE, real(8, 2, 3, 3), 2, 1, groups=2)
convolution(real(1, 2, 4, 5, 3), real(3, 2, 2, 2, 2), 1, 1)
convolution(real(2, 4, 5), real(4, 3, 3), 2, 1, transposed=True, output=1)
convolution(IMAGE, real(4, 2, 3, 3), 2, 1, transposed=True, groups=2)
convolution(IMAGE, real(4, 2, 2, 2), 1, 2, transposed=True)
case("max_pool2d_with_indices", IMAGE, [3, 2], [2, 2], [1, 1])
case("max_pool2d_with_indices", IMAGE, [2, 2], [2, 2], [0, 0], [2, 1], True)
case("avg_pool1d", real(2, 3, 7), [3], [2], [1])
case("avg_pool2d", IMAGE, [3, 2], [2, 2], [1, 1])
case("avg_pool2d", IMAGE, [3, 2], [2, 2], [1, 1], True, False)
case("avg_pool2d", IMAGE, [2, 2], [], [0, 0], False, True, 3)
case("avg_pool3d", real(1, 2, 4, 4, 4), [2, 2, 2])
case("adaptive_avg_pool1d", real(2, 3, 7), [3])
case("_adaptive_avg_pool2d", IMAGE, [3, 2])
case("upsample_nearest1d", real(2, 3, 5), [8])
case("upsample_nearest2d", IMAGE, [9, 3])
case("upsample_linear1d", real(2, 3, 5), [8], False)
case("upsample_bilinear2d", IMAGE, [9, 3], True)
case("upsample_bilinear2d.vec", IMAGE, None, False, [1.5, 2.0])
case("upsample_bicubic2d", IMAGE, [9, 3], False)
GRID = real(2, 3, 4, 2, low=-1.2, high=1.2)
for mode in (0, 1):
    for padding in (0, 1):
        case("grid_sampler_2d", IMAGE, GRID, mode, padding, False)
case("grid_sampler_2d", IMAGE, GRID, 0, 0, True)
case("im2col", IMAGE, [3, 2], [1, 2], [1, 0], [2, 1])
case("col2im", real(2, 12, 9), [6, 5], [3, 2], [1, 2], [1, 0], [2, 1])
case("cross_entropy_loss", X, torch.tensor([1, -100, 3]))
case("cross_entropy_loss", X, torch.tensor([1, -100, 3]), P[0], 1, -100, 0.1)
case("cross_entropy_loss", CUBE, whole(2, 4, high=3), None, 0)
case("cross_entropy_loss", X, P, None, 2)
case("mse_loss", X, Y)
case("mse_loss", X, Y, 0)
case("binary_cross_entropy_with_logits", X, P, None, P[0] + 1)
case("binary_cross_entropy_with_logits", X, P, P[0], None, 2)
for normalization in (0, 1, 2):
    case("_fft_r2c", X, [1], normalization, True)
    case("_fft_c2c", COMPLEX, [0, 1], normalization, normalization == 1)
case("_fft_r2c", X, [0, 1], 0, False)
case("_fft_c2r", torch.fft.rfft(X), [1], 2, 4)
case("linalg_inv_ex", SPD)
