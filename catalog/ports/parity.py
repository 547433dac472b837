"""Is a port the model? Forward, gradients of every parameter, a training step: what is compared, and how.

    found = parity.forward(model, port, inputs)          # {output: worst difference relative to its largest value}
    found = parity.step(model, port, inputs)             # gradients and, after a step, every leaf; changes both models

A port takes part through a :class:`Face` (``face(port)`` makes it). Inputs are PyTorch tensors by published name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from catalog.errors import PortError

RATE = 0.05  # of the one step of plain gradient descent


class Face(Protocol):
    """A port as comparisons see it; arrays are numpy's, in PyTorch's layout, by our names."""

    def forward(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outputs in evaluation."""

    def step(self, inputs: Mapping[str, Any], of: Sequence[str]) -> dict[str, np.ndarray]:
        """One step of gradient descent in training on the outputs ``of``: the gradients of all parameters.

        What descends is the sum of their elements, each times the cosine of its place: a scalar as it is, and of normed
        states more than a plain sum, which has no gradient.
        """

    def values(self) -> dict[str, np.ndarray]:
        """Every leaf that a checkpoint holds."""


def face(port) -> Face:
    """The face of a port of any framework."""
    if port.framework == "flax":
        return _Flax(port)
    from catalog.ports.keras import Face as Keras

    return Keras(port)


def forward(model: nn.Module, port: Face, inputs: Mapping[str, Any]) -> dict[str, float]:
    """By output, the largest difference relative to its largest value. Raises PortError where outputs are not the same ones."""
    with torch.no_grad():
        wanted = flat(model.eval()(**inputs))
    got = flat(port.forward(arrays(inputs)))
    if wanted.keys() != got.keys():
        raise PortError(f"outputs differ: PyTorch has {sorted(wanted)}, the port {sorted(got)}")
    return {name: difference(got[name], wanted[name].numpy(), name) for name in wanted}


def step(model: nn.Module, port: Face, inputs: Mapping[str, Any]) -> dict[str, float]:
    """One step of gradient descent on both, in training, on the loss or else all outputs: by leaf, how far they are apart.

    ``gradient of <name>`` is relative to the gradient's largest value (at least a hundredth of the largest of all, since a
    gradient that cancels to zero has no digits); ``<name>`` is a leaf after the step.
    """
    model.train()
    outputs = flat(model(**inputs))
    of = ["loss"] if "loss" in outputs else [n for n, v in outputs.items() if v.is_floating_point()]
    sum((outputs[n].flatten() * torch.arange(outputs[n].numel()).cos()).sum() for n in of).backward()
    gradients = port.step(arrays(inputs), of)
    wanted = {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters() if p.requires_grad
    }
    if wanted.keys() != gradients.keys():
        raise PortError(f"parameters that learn differ: {sorted(wanted.keys() ^ gradients.keys())}")
    least = 0.01 * max((float(g.abs().max()) for g in wanted.values() if g.numel()), default=1.0)
    found = {f"gradient of {n}": difference(gradients[n], g.numpy(), n, least) for n, g in wanted.items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter -= RATE * wanted[name]
    leaves = dict(model.named_parameters()) | dict(model.named_buffers())
    return found | {n: difference(v, leaves[n].detach().numpy(), n) for n, v in port.values().items()}


def difference(got, wanted: np.ndarray, name: str, least: float = 1e-3) -> float:
    """The largest difference relative to the largest wanted value (or ``least``); infinities must stand in the same places."""
    got, wanted = np.asarray(got).astype(np.float64), wanted.astype(np.float64)
    if got.shape != wanted.shape:
        raise PortError(f"{name}: shape {list(got.shape)}, PyTorch has {list(wanted.shape)}")
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)):
        return float("inf")
    if not finite.any():
        return 0.0
    return float(np.abs(got[finite] - wanted[finite]).max() / max(np.abs(wanted[finite]).max(), least))


def arrays(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as numpy arrays, nested ones too; Python values as they are."""
    return {name: _array(value) for name, value in inputs.items()}


def _array(value):
    if isinstance(value, Tensor):
        return value.detach().numpy()
    if isinstance(value, Mapping):
        return arrays(value)
    return tuple(_array(item) for item in value) if isinstance(value, (list, tuple)) else value


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Outputs by dotted names (``hidden_states.0``), those of any framework."""
    if value is None:
        return {}
    if hasattr(value, "items"):
        pairs = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return {name: value}
    found = {}
    for key, item in pairs:
        found |= flat(item, f"{name}.{key}" if name else str(key))
    return found


class _Flax:
    """A Flax port as :class:`Face`."""

    def __init__(self, port):
        self.port = port

    def forward(self, inputs):
        from flax import nnx

        fixed, traced = apart(inputs)
        return nnx.jit(lambda port, traced: port(**traced, **fixed))(self.port, traced)

    def step(self, inputs, of):
        import jax.numpy as jnp
        import optax
        from flax import nnx

        fixed, traced = apart(inputs)

        def objective(port, traced):
            outputs = flat(port(**traced, **fixed, train=True, rngs=nnx.Rngs(0)))
            return sum((outputs[n].ravel() * jnp.cos(jnp.arange(outputs[n].size))).sum() for n in of)

        optimizer = nnx.Optimizer(self.port, optax.sgd(RATE), wrt=nnx.Param)

        @nnx.jit
        def step(port, optimizer, traced):
            gradients = nnx.grad(objective)(port, traced)
            optimizer.update(port, gradients)
            return gradients

        return self.port.named(step(self.port, optimizer, traced))

    def values(self):
        return self.port.values()


def apart(inputs):
    """Python values, which decide what is traced, and arrays."""
    fixed = {n: v for n, v in inputs.items() if isinstance(v, (bool, int, float, str)) or v is None}
    return fixed, {n: v for n, v in inputs.items() if n not in fixed}
