"""Linear layers whose frozen weight is held in eight or four bits and made whole for each product."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catalog.errors import ConfigError

FORMS = ("int8", "nf4")
BLOCK = 64  # numbers of an nf4 weight that share a scale


def levels() -> Tensor:
    """The 16 numbers of four-bit NormalFloat, fp32, from -1 to 1 with 0 among them: quantiles of a normal distribution.

    Dettmers et al., 2023, "QLoRA" (arXiv:2305.14314), section 3 and appendix E.
    """
    outermost = 0.9677083  # the published probability of the largest quantile
    above = torch.special.ndtri(torch.linspace(outermost, 0.5, 9, dtype=torch.float64)[:-1])
    below = -torch.special.ndtri(torch.linspace(outermost, 0.5, 8, dtype=torch.float64)[:-1])
    found = torch.cat([below, above.new_zeros(1), above.flip(0)])
    return (found / found.max()).float()


def pack(weight: Tensor, form: str) -> tuple[Tensor, Tensor]:
    """``weight`` [out, in] as codes and fp32 scales.

    int8: codes [out, in], a scale a row. nf4: two codes a byte, [out * in / 2], a scale for each ``BLOCK`` numbers.
    """
    wide = weight.detach().float()
    if form == "int8":
        scales = wide.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
        return (wide / scales).round().to(torch.int8), scales
    blocks = wide.reshape(-1, BLOCK)
    scales = blocks.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    table = levels().to(wide.device)
    borders = (table[1:] + table[:-1]) / 2
    codes = torch.bucketize(blocks / scales, borders).to(torch.uint8).view(-1, 2)
    return codes[:, 0] << 4 | codes[:, 1], scales


def unpack(codes: Tensor, scales: Tensor, form: str, shape: torch.Size) -> Tensor:
    """The fp32 weight that ``pack`` made codes and scales of, rounded to what they can say."""
    if form == "int8":
        return codes.float() * scales
    pairs = torch.stack([codes >> 4, codes & 15], 1)
    return (levels().to(codes.device)[pairs.int()].view(-1, BLOCK) * scales).view(shape)


class QuantisedLinear(nn.Module):
    """As the ``nn.Linear`` it is made of, [..., in] -> [..., out], with its weight frozen and in few bits.

    ``form`` is one of ``FORMS``. Neither pass keeps the whole weight; gradients reach the input and the bias. Raises
    ConfigError for sizes that the form cannot hold.
    """

    def __init__(self, linear: nn.Linear, form: str):
        super().__init__()
        if form == "nf4" and linear.weight.numel() % BLOCK:
            raise ConfigError(
                f"a weight of {linear.out_features} x {linear.in_features} does not divide into blocks of {BLOCK} for nf4; "
                "take int8, or leave it as it is"
            )
        self.form, self.in_features, self.out_features = form, linear.in_features, linear.out_features
        codes, scales = pack(linear.weight, form)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.bias = linear.bias

    def dense(self) -> Tensor:
        """The weight [out, in], fp32."""
        return unpack(self.codes, self.scales, self.form, torch.Size((self.out_features, self.in_features)))

    def forward(self, x):
        y = _Product.apply(x, self)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _Product(torch.autograd.Function):
    """x @ weight', where the weight is made whole in both passes rather than kept between them."""

    @staticmethod
    def forward(ctx, x, layer):
        ctx.layer = layer
        return F.linear(x, layer.dense().to(x.dtype))

    @staticmethod
    def backward(ctx, grad):
        return grad @ ctx.layer.dense().to(grad.dtype), None
