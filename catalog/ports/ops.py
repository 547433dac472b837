"""The ops that ports have. The list is ours: the exporter keeps these whole, takes everything else apart into them, and
refuses what it cannot. Each framework's table has exactly these.

Names are PyTorch's, without the overload where one function serves all of them.
"""


def _words(text):
    return text.split()


SIZES = _words("""
size int.add int.sub int.mul int.floordiv int.mod int.neg int.max int.min int.truediv int.pow int.float int.int int.ceil
int.floor int.round
""")

ELEMENTWISE = _words("""
abs neg sign ceil floor round trunc exp expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tan asin acos atan sinh
cosh tanh asinh acosh atanh erf sigmoid isnan isinf logical_not bitwise_not
add sub mul div remainder fmod pow atan2 maximum minimum
eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift
bitwise_right_shift
clamp where masked_fill
relu leaky_relu elu gelu silu mish softplus hardtanh hardsigmoid hardswish log_sigmoid
_to_copy detach view_as_real view_as_complex complex
""")

SHAPE = _words("""
view squeeze unsqueeze expand permute cat stack split_with_sizes split unbind select slice index gather index_select
scatter scatter_add scatter_reduce index_put index_add index_copy index_fill select_scatter slice_scatter masked_scatter
repeat roll flip as_strided constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
pixel_shuffle tril triu diagonal unfold im2col col2im repeat_interleave
full full_like arange scalar_tensor empty copy
""")

REDUCE = _words("""
sum mean prod var std amax amin max.dim min.dim argmax argmin all any cumsum cumprod logsumexp linalg_vector_norm sort topk
softmax log_softmax
""")

NETWORK = _words("""
linear mm bmm matmul addmm einsum
embedding layer_norm native_layer_norm native_group_norm
_native_batch_norm_legit_no_training _native_batch_norm_legit_functional _native_batch_norm_legit
scaled_dot_product_attention convolution
max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d _adaptive_avg_pool2d
upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d grid_sampler_2d
cross_entropy_loss mse_loss binary_cross_entropy_with_logits
_fft_r2c _fft_c2r _fft_c2c linalg_inv_ex
native_dropout bernoulli rand randn randint exponential
""")

# These draw; so does attention with dropout.
RANDOM = frozenset(_words("native_dropout bernoulli rand randn randint exponential"))
OPS = frozenset(SIZES + ELEMENTWISE + SHAPE + REDUCE + NETWORK)


def base(op: str) -> str | None:
    """An op's name as it stands in OPS: whole, or without its overload; ``None`` for one that ports do not have."""
    return op if op in OPS else op.split(".")[0] if op.split(".")[0] in OPS else None


def draws(op: str, args) -> bool:
    """Whether a node of this op and these arguments draws random numbers."""
    name = base(op)
    return name in RANDOM or (name == "scaled_dot_product_attention" and len(args) > 4 and args[4] > 0)
