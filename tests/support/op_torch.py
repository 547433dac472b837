"""What PyTorch makes of a call of an op: its outputs, and the gradients of a weighed sum of the first."""

from dataclasses import dataclass

import numpy as np
import torch

from catalog.ports import ops
from tests.support.op_samples import SAMPLES
from tests.support.op_tensors import kw

# Their further outputs come in shapes of the kernel's own.
_FIRST = {"native_layer_norm", "native_group_norm", "_native_batch_norm_legit_no_training"}
_WIDE = {"sum": 1e-5, "convolution": 1e-5, "linalg_inv_ex": 1e-4, "upsample_bicubic2d": 1e-5, "cumprod": 1e-5}


@dataclass
class Wanted:
    """A call and what comes of it. ``learn`` are places among :func:`tensors` of the arguments, of those with ``gradients``.

    ``weight`` is what the first output is weighed with before it is summed (of complex sums the absolute value is taken).
    """

    name: str
    args: list
    kwargs: dict
    outputs: list
    single: bool
    learn: list
    weight: torch.Tensor | None
    gradients: list


def wanted(name: str, number: int) -> Wanted:
    """Call ``number`` of an op in PyTorch."""
    args = list(SAMPLES[name][number])
    kwargs = args.pop() if args and isinstance(args[-1], kw) else {}
    fed = tensors(args)
    real = [i for i, t in enumerate(fed) if (t.is_floating_point() or t.is_complex()) and not hasattr(t, "still")]
    for i in real:
        fed[i].requires_grad_(True).grad = None
    base, _, overload = name.partition(".")
    made = getattr(getattr(torch.ops.aten, base), overload or "default")(*args, **kwargs)
    single = isinstance(made, torch.Tensor)
    outputs = [made] if single else list(made)[: 1 if name in _FIRST else None]
    first, weight, gradients = outputs[0], None, []
    if not first.requires_grad or first.dtype == torch.bfloat16:
        real = []
    if real:
        weight = torch.randn(first.shape, generator=torch.Generator().manual_seed(1)).to(first.dtype)
        total = (first * weight).sum()
        (total.abs() if total.is_complex() else total).backward()
        gradients = [torch.zeros_like(fed[i]) if fed[i].grad is None else fed[i].grad for i in real]
    for tensor in fed:
        tensor.requires_grad_(False) if tensor.is_leaf else None
    return Wanted(name, args, kwargs, [out.detach() for out in outputs], single, real, weight, gradients)


def tensors(value) -> list[torch.Tensor]:
    """The tensors among arguments, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, (list, tuple)) else []


def replaced(value, tensor, dtype):
    """Arguments with ``tensor`` of each tensor, ``dtype`` of each type's name."""
    if isinstance(value, torch.Tensor):
        return tensor(value)
    if isinstance(value, torch.dtype):
        return dtype(str(value).removeprefix("torch."))
    return [replaced(v, tensor, dtype) for v in value] if isinstance(value, (list, tuple)) else value


def array(tensor) -> np.ndarray:
    """A PyTorch tensor's values; bf16 as fp32."""
    tensor = tensor.detach().resolve_conj()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def close(got: np.ndarray, dtype: str, tensor: torch.Tensor, name: str) -> None:
    """Assert that an array, of type ``dtype`` in its framework, is what PyTorch has, type included."""
    kind = str(tensor.dtype).removeprefix("torch.")
    assert got.shape == tuple(tensor.shape), f"{name}: {got.shape}, {tuple(tensor.shape)}"
    assert dtype == kind, f"{name}: {dtype}, {kind}"
    expected = array(tensor)
    tolerance = 2e-2 if kind == "bfloat16" else _WIDE.get(ops.base(name), 3e-6)
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)
