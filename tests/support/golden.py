"""Golden files: published numbers of tiny models, and the formula that makes their weights and inputs.

``u(salt, name)[i]`` is a hash of the name and the flat index, in [-1, 1) with 24 random bits, so that weights need no room:
key = fnv1a64("salt:name"), z = splitmix64's finaliser of key + i * odd, u = (z >> 40) / 2**23 - 1, all in fp32.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parents[1] / "golden"


def _key(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def uniform(salt: str, name: str, shape) -> np.ndarray:
    """The formula's values, fp32 of ``shape``."""
    count = int(np.prod(shape)) if len(shape) else 1
    with np.errstate(over="ignore"):
        z = np.uint64(_key(f"{salt}:{name}")) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1).astype(np.float32).reshape(tuple(shape))


_KINDS = {
    "norm": lambda u, scale: np.float32(1) + np.float32(0.1) * u,
    "var": lambda u, scale: np.float32(1) + np.float32(0.5) * np.abs(u),
    "bias": lambda u, scale: np.float32(0.1) * u,
    "weight": lambda u, scale: np.float32(scale) * u,
    "const": lambda u, scale: np.full_like(u, scale),
}


@dataclass(frozen=True)
class Golden:
    """One golden file: a published class with a tiny config, its inputs, and the numbers it gives."""

    path: Path

    @cached_property
    def data(self) -> dict[str, Any]:
        """The file."""
        return json.loads(self.path.read_text())

    @property
    def name(self) -> str:
        """``model_type/Class`` or ``model_type/Class@variant``."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """Every published tensor; tied copies left out, and computed buffers unless they are one constant."""
        salt, found = self.data["salt"], {}
        for name, shape, kind, scale in self.data["tensors"]:
            if kind != "buffer":
                found[name] = torch.from_numpy(np.asarray(_KINDS[kind](uniform(salt, name, shape), scale))).reshape(
                    shape
                )
            elif len(set((buffer := self.data["buffers"][name])["sample"])) == 1:
                found[name] = torch.full(shape, buffer["sample"][0], dtype=getattr(torch, buffer["dtype"]))
        return found

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Keyword arguments of ``forward``, as tensors."""
        return {key: self._input(key, spec) for key, spec in self.data["inputs"].items()}

    @property
    def call(self) -> dict[str, Any]:
        """Further keyword arguments that ask for outputs."""
        return {k: v for k, v in self.data["call"].items() if k != "return_dict"}

    def _input(self, key, spec):
        if "items" in spec:
            return [self._input(f"{key}.{i}", item) for i, item in enumerate(spec["items"])]
        if "fields" in spec:
            return {k: self._input(f"{key}.{k}", v) for k, v in spec["fields"].items()}
        if "value" in spec:
            return spec["value"]
        if "values" in spec:
            return torch.tensor(spec["values"], dtype=getattr(torch, spec["dtype"])).reshape(spec["shape"])
        a, b = spec.get("affine", [1.0, 0.0])
        value = np.float32(a) * uniform(self.data["salt"], spec["formula"], spec["shape"]) + np.float32(b)
        return torch.from_numpy(value.astype(spec["dtype"]))

    def config(self) -> dict[str, Any]:
        """The published ``config.json``."""
        return {**self.data["config"], "architectures": [self.data["class"]]}

    def write(self, folder: Path) -> Path:
        """A folder in the published layout: config and weights."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config()))
        save_file({name: tensor.contiguous() for name, tensor in self.weights.items()}, folder / "model.safetensors")
        return folder


def cases(*model_types: str) -> list[Golden]:
    """All golden model files kept here, or those of some model types, sorted."""
    folders = [FOLDER / m for m in model_types] if model_types else sorted(
        p for p in FOLDER.iterdir() if p.is_dir() and p.name not in ("tokenizers", "processors", "generation")
    )  # fmt: skip
    return [Golden(path) for folder in folders for path in sorted(folder.glob("*.json"))]


def outputs(value, name: str = "") -> dict[str, Any]:
    """An output flattened to the golden names: ``hidden_states.0``, ``text_model_output.pooler_output``."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    if hasattr(value, "items"):
        pairs = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return {}
    found = {}
    for key, item in pairs:
        found |= outputs(item, f"{name}.{key}" if name else str(key))
    return found


def sample(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """``count`` elements at flat positions k * n // count, as golden files sample them."""
    flat = tensor.detach().reshape(-1)
    return flat[torch.arange(count) * flat.numel() // count]


def expect(got: torch.Tensor, want: dict[str, Any], name: str, tolerance: float = 1e-4) -> None:
    """Assert that a tensor has the recorded shape and, within ``tolerance`` of its largest value, the recorded sample."""
    assert list(got.shape) == want["shape"], f"{name}: shape {list(got.shape)}, published {want['shape']}"
    expected = torch.tensor([float(v) for v in want["sample"]], dtype=torch.float64)
    values = sample(got, len(expected)).double()
    finite = expected.isfinite()
    assert torch.equal(values.isfinite(), finite), f"{name}: infinities stand elsewhere"
    scale = max(
        float(want.get("absmax", 0) if not isinstance(want.get("absmax"), str) else 0),
        float(expected[finite].abs().max()) if finite.any() else 0,
        1e-3,
    )
    worst = float((values[finite] - expected[finite]).abs().max()) if finite.any() else 0.0
    assert worst <= tolerance * scale, f"{name}: off by {worst:.3g}, allowed {tolerance * scale:.3g}"
