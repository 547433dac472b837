"""Number formats: what matrix products are computed in. Weights and optimizer state stay as the model has them (fp32)."""

from contextlib import AbstractContextManager, nullcontext

import torch

from trainer.errors import DeviceError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and, for fp16, the gradient scaler. ``scaler`` is ``None`` for the formats that need none.

    Raises :class:`DeviceError` where the device cannot compute in the format asked for.
    """

    def __init__(self, dtype: str, device: torch.device):
        if dtype == "fp16" and device.type != "cuda":
            raise DeviceError(
                f"precision.dtype=fp16 needs a CUDA device, this run is on '{device.type}': "
                "half precision is slower than fp32 there and its gradients underflow\n"
                "   choose precision.dtype=fp32 (exact) or precision.dtype=bf16 (same range as fp32)"
            )
        if dtype == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise DeviceError(
                f"precision.dtype=bf16 needs compute capability 8.0, {torch.cuda.get_device_name(device)} lacks it\n"
                "   choose precision.dtype=fp16 (with a gradient scaler) or precision.dtype=fp32"
            )
        self.dtype, self.device = dtype, device
        self.scaler = torch.amp.GradScaler("cuda") if dtype == "fp16" else None

    def autocast(self) -> AbstractContextManager:
        """The context of one forward pass."""
        return torch.autocast(self.device.type, DTYPES[self.dtype]) if self.dtype in DTYPES else nullcontext()
