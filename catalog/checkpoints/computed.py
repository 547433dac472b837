"""Tensors that published files of some families hold although the configuration determines them: our pages compute them.

Files of the other frameworks are written with them, and checked for them, so that the reference library reads them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def sinusoids(count: int, width: int, base: float = 10000.0) -> np.ndarray:
    """[count, width] fp32: sines, then cosines, of positions at rates base**(-i / (width / 2 - 1))."""
    rates = np.exp(-np.log(base) / (width // 2 - 1) * np.arange(width // 2, dtype=np.float32))
    angles = np.arange(count, dtype=np.float32)[:, None] * rates[None].astype(np.float32)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def computed(model: str, config: Mapping[str, Any], names: Iterable[str]) -> dict[str, np.ndarray]:
    """The computed tensors of a family by published PyTorch name; ``names`` are those of its other tensors.

    ``config`` is the published one. All are tables of embeddings.
    """
    names = set(names)
    if model == "whisper":
        after = "encoder.layer_norm.weight"
        prefixes = {name.removesuffix(after) for name in names if name.endswith(after)}
        table = sinusoids(config["max_source_positions"], config["d_model"])
        return {f"{prefix}encoder.embed_positions.weight": table for prefix in prefixes}
    return {}
