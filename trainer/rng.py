"""Random number generators of every kind, saved and put back, so that a resumed run draws what it would have drawn."""

import random

import numpy as np
import torch


def seed(value: int) -> None:
    """Seed Python, NumPy and PyTorch (all devices)."""
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


def state(device: torch.device) -> dict:
    """The state of every generator this process draws from, as tensors, numbers and tuples."""
    saved = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if device.type == "cuda":
        saved["cuda"] = torch.cuda.get_rng_state(device)
    return saved


def load(saved: dict, device: torch.device) -> None:
    """Put back what ``state`` returned. A state without a generator for ``device`` leaves that one as it is."""
    version, internal, gauss = saved["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(saved["numpy"]))
    torch.set_rng_state(saved["torch"])
    if device.type == "cuda" and "cuda" in saved:
        torch.cuda.set_rng_state(saved["cuda"], device)
