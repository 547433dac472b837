"""Number formats: what matrix products are computed in, what weights are kept in, what gradients are added up in."""

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.errors import DeviceError, OptionError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}  # what autocast computes in
REDUCE = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Precision:
    """The formats of a run.

    dtype   fp32; bf16 and fp16: products in them, weights fp32; bf16_pure: weights too, see :mod:`trainer.rounding`;
            fp8: products of large linear layers in eight bits (Micikevicius et al., 2022, arXiv:2209.05433), others in bf16
    reduce  the format in which ``strategies`` add gradients up over processes; ``None``: as the gradients are
    scaler  of fp16's gradients; ``None`` for the formats that need none

    Raises :class:`DeviceError` where the device cannot compute in the format asked for, and :class:`OptionError` where a
    library is missing; each names the nearest choice that works.
    """

    def __init__(self, dtype: str, device: torch.device, reduce: str | None = None):
        if dtype == "fp16" and device.type != "cuda":
            raise DeviceError(
                f"precision.dtype=fp16 needs a CUDA device, this run is on '{device.type}': "
                "half precision is slower than fp32 there and its gradients underflow\n"
                "   choose precision.dtype=fp32 (exact) or precision.dtype=bf16 (same range as fp32)"
            )
        if (
            dtype in ("bf16", "bf16_pure")
            and device.type == "cuda"
            and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            raise DeviceError(
                f"precision.dtype={dtype} needs compute capability 8.0, {torch.cuda.get_device_name(device)} lacks it\n"
                "   choose precision.dtype=fp16 (with a gradient scaler) or precision.dtype=fp32"
            )
        if dtype == "fp8":
            _require_fp8(device)
        self.dtype, self.device, self.reduce = dtype, device, REDUCE.get(reduce)
        self.scaler = torch.amp.GradScaler("cuda") if dtype == "fp16" else None

    def convert(self, model: nn.Module) -> nn.Module:
        """``model`` with its weights and layers as the format wants them; to be called before it is sharded or trained.

        Names of weights stay. Under bf16_pure normalisations with running statistics stay fp32: an average that moves by
        a tenth at a time would not move in eight bits.
        """
        if self.dtype == "bf16_pure":
            for module in model.modules():
                for p in () if isinstance(module, _BatchNorm) else module.parameters(recurse=False):
                    p.data = p.data.to(torch.bfloat16) if p.is_floating_point() else p.data
            model.register_forward_pre_hook(_in_bf16, with_kwargs=True)
        elif self.dtype == "fp8":
            _products_in_fp8(model)
        return model

    def autocast(self) -> AbstractContextManager:
        """The context of one forward pass."""
        return torch.autocast(self.device.type, DTYPES[self.dtype]) if self.dtype in DTYPES else nullcontext()


def _in_bf16(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Pixels and samples come as fp32; ids and masks stay."""

    def cast(value: Any) -> Any:
        return value.bfloat16() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}


def _require_fp8(device: torch.device) -> None:
    capable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)
    if not capable:
        what = torch.cuda.get_device_name(device) if device.type == "cuda" else f"'{device.type}'"
        raise DeviceError(
            f"precision.dtype=fp8 needs a GPU that multiplies in eight bits (compute capability 8.9), {what} does not\n"
            "   choose precision.dtype=bf16, which has the same weights and optimizer state"
        )
    if importlib.util.find_spec("torchao") is None:
        raise OptionError(
            "precision.dtype=fp8 needs torchao, which is not installed: pip install 'trivium[lowbit]'\n"
            "   or choose precision.dtype=bf16, which needs nothing more"
        )


def _products_in_fp8(model: nn.Module) -> None:
    """Give every linear layer whose sizes the kernels take its eight-bit form; heads, narrow as they are, stay."""
    from torchao.float8 import convert_to_float8_training

    def fits(layer: nn.Module, name: str) -> bool:
        return "." in name and layer.in_features % 16 == 0 and layer.out_features % 16 == 0

    convert_to_float8_training(model, module_filter_fn=lambda m, name: isinstance(m, nn.Linear) and fits(m, name))
