"""Further calls of ops, at edges that plain ones do not reach; :mod:`tests.support.op_samples` adds them to its own."""

import torch

from tests.support.op_tensors import distinct, flags, kw, still, whole, x

INF = float("inf")
_PLACES = torch.tensor([[0, 2, 0], [1, 1, 3], [0, 3, 1]])


def convolution(shape, weight, stride, padding, dilation=1, transposed=False, output=0, groups=1):
    """A convolution with the same numbers in every dimension."""
    dims, outputs = len(weight) - 2, weight[1] * groups if transposed else weight[0]
    every = ([n] * dims for n in (stride, padding, dilation))
    return [x(*shape), x(*weight), x(outputs), *every, transposed, [output] * dims, groups]


EDGES: dict[str, list[list]] = {
    **{name: [[whole(3, 4) + 1]] for name in ("exp", "sqrt", "rsqrt", "sigmoid")},
    "round.decimals": [[x(3, 4), kw(decimals=1)]],
    "add.Tensor": [[whole(3, 4), x(3, 4)], [x(3, 4), 2]],
    "mul.Tensor": [[x(3, 4), 2.5], [whole(3, 4), whole(3, 4)]],
    "remainder.Tensor": [[x(3, 4), x(3, 4, low=0.2, high=0.9)]],
    "fmod.Scalar": [[whole(3, 4, low=-9), 3]],
    "pow.Tensor_Scalar": [[x(3, 4, low=0.2, high=0.9), power] for power in (3, 0.5, -1.0)],
    "maximum": [[(tied := distinct(3, 4)), tied.clone()], [whole(3, 4), whole(3, 4)]],
    **{f"{name}.Scalar": [[x(3, 4), 0.5]] for name in ("lt", "le", "ge")},
    "where.self": [[flags(3, 4), x(3, 4), torch.tensor(0.0)]],
    "masked_fill.Scalar": [[x(3, 4), flags(3, 4), -INF]],
    "view.dtype": [[still(x(3, 4)), torch.int32]],
    "cat": [[[x(3, 4), torch.empty(0)]]],
    "slice.Tensor": [[x(2, 3, 4), 1, -2, 2**63 - 1], [x(2, 3, 4), 1, None, -1]],
    "index.Tensor": [
        [x(2, 3, 4), [None, whole(2, 2, low=-3, high=3)]], [x(2, 3, 4), [None, whole(5, high=3), whole(5, high=4)]],
        [x(2, 3, 4), [whole(5, 1, high=2), None, whole(3, high=4)]],
    ],
    "gather": [[x(2, 3, 4), 1, whole(2, 2, 3, high=3)]],
    "scatter.reduce": [
        [still(x(3, 4)), 0, torch.tensor([[0, 0, 1]]), still(x(1, 3)), kw(reduce="add")],
        [still(x(3, 4)), 0, torch.tensor([[0, 0, 1], [0, 1, 2]]), still(x(2, 3)), kw(reduce="multiply")],
    ],
    "scatter_reduce.two": [
        *([x(3, 4), 1, _PLACES, x(3, 3), how] for how in ("sum", "mean", "amax", "amin")),
        [still(x(3, 4)), 1, _PLACES, still(x(3, 3)), "prod"],
        *([x(3, 4), 1, _PLACES, x(3, 3), how, kw(include_self=False)] for how in ("sum", "amax")),
    ],
    "index_put": [
        [x(3, 4), [torch.tensor([2, 0]), torch.tensor([1, 3])], x(2)], [x(3, 4), [torch.tensor([0, 0])], x(2, 4), True],
    ],
    "index_add": [[x(2, 3, 4), 1, torch.tensor([0, 0, 2]), x(2, 3, 4), kw(alpha=2)]],
    "select_scatter": [[x(2, 3, 4), x(2, 4), 1, -1]],
    "slice_scatter": [[x(2, 3, 4), x(2, 3, 2), 2, 1, 4, 2]],
    "masked_scatter": [[x(3, 4), flags(3, 4), x(3, 4)]],
    "repeat": [[x(3, 4), [2, 1, 3]]],
    "constant_pad_nd": [[x(2, 3, 4), [-1, 2]], [flags(3, 4), [1, 2], 0.0]],
    "diagonal": [[x(2, 3, 4), -1]],
    "unfold": [[x(2, 3, 4), 2, 2, 1]],
    "arange.start": [[0.5, 3.0]],
    "prod": [[x(3, 4)]],
    "amax": [[x(2, 3, 4), [1, 2], True], [x(3, 4)]],
    "amin": [[x(3, 4)]],
    "argmin": [[distinct(2, 3, 4)]],
    "logsumexp": [[x(2, 3, 4), [1, 2]]],
    "linalg_vector_norm": [[x(3, 4), order, [1], True] for order in (0, 3, -INF)],
    "topk": [[distinct(2, 3, 4), 2, 1]],
    "matmul": [[x(2, 3, 4), x(4)], [x(4), x(4, 2)], [x(3, 2, 2, 4), x(2, 4, 3)]],
    "native_layer_norm": [[x(2, 3, 4), [4], x(4), None, 1e-5]],
    "scaled_dot_product_attention": [
        [x(2, 4, 3, 6), x(2, 2, 5, 6), x(2, 2, 5, 6), flags(3, 5), kw(enable_gqa=True, scale=0.3)],
        [x(2, 4, 3, 6), x(2, 2, 5, 6), x(2, 2, 5, 6), torch.zeros(3, 5, dtype=torch.bool), kw(enable_gqa=True)],
    ],
    "convolution": [
        convolution((2, 4, 9), (6, 2, 3), 1, 2, 2, groups=2),
        convolution((2, 4, 6, 5), (6, 4, 2, 2), 2, 0, 2),
        convolution((2, 4, 6, 5), (8, 2, 3, 3), 2, 1, groups=2),
        convolution((2, 4, 6, 5), (4, 2, 3, 3), 2, 1, transposed=True, groups=2),
        convolution((2, 4, 6, 5), (4, 2, 2, 2), 1, 2, transposed=True),
    ],
    "max_pool2d_with_indices": [[distinct(2, 4, 6, 5), [2, 2], [2, 2], [0, 0], [2, 1], True]],
    "upsample_bilinear2d": [[x(2, 4, 6, 5), [9, 3], True]],
    "grid_sampler_2d": [
        [x(2, 4, 6, 5), x(2, 3, 4, 2, low=-1.2, high=1.2), 1, padding, False] for padding in (0, 1)
    ],
    "cross_entropy_loss": [
        [x(3, 4), torch.tensor([1, -100, 3]), still(x(4, low=0.2, high=0.9)), 1, -100, 0.1],
        [x(3, 4), still(x(3, 4, low=0.2, high=0.9)), None, 2],
    ],
    "binary_cross_entropy_with_logits": [
        [x(3, 4), still(x(3, 4, low=0.2, high=0.9)), None, still(x(4, low=1.2, high=1.9))],
    ],
    "_fft_r2c": [[x(3, 4), [1], how, True] for how in (1, 2)],
    "_fft_c2c": [[torch.complex(x(3, 4), x(3, 4)), [0, 1], how, how == 1] for how in (0, 1, 2)],
}  # fmt: skip
