"""Published PyTorch names <-> published Flax paths: one rule by what a module is, and a record of exceptions.

PyTorch's ``encoder.layer.0.output.dense.weight`` [out, in] is Flax's ``encoder/layer/0/output/dense/kernel`` [in, out].
"""

import re
from collections.abc import Mapping

# Families that name a leaf otherwise: (PyTorch's rule gives, the published file has), as patterns on the Flax path.
_RMS_NORM = [(r"(layer_norm|final_layer_norm|layernorm)/scale$", r"\1/weight")]
_CLIP_VISION = [(r"(vision_model/embeddings/position_embedding)/weight$", r"\1/embedding")]
RECORD: dict[str, list[tuple[str, str]]] = {
    "t5": _RMS_NORM, "mt5": _RMS_NORM, "longt5": _RMS_NORM, "clip": _CLIP_VISION, "clip_vision_model": _CLIP_VISION,
}  # fmt: skip


def paths(
    shapes: Mapping[str, tuple[int, ...]], roles: Mapping[str, str], model: str, architecture: str
) -> dict[str, tuple[str, tuple[int, ...] | None]]:
    """Where each published tensor stands in a Flax file: (path, order of axes). Counters of batches stand nowhere.

    ``shapes`` and ``roles`` (see :class:`catalog.ports.blueprint.Leaf`) by published PyTorch name. A model with batch
    statistics keeps them beside its parameters. ``architecture``, the published class, is not part of a Flax path.
    """
    found = {
        name: to_flax(name, roles[name], len(shape), model)
        for name, shape in shapes.items()
        if not name.endswith(".num_batches_tracked")
    }
    statistics = {name for name in found if roles[name] == "batch_norm" and ".running_" in name}
    if statistics:
        for name, (path, axes) in found.items():
            found[name] = (f"{'batch_stats' if name in statistics else 'params'}/{path}", axes)
    return found


def to_flax(name: str, role: str, dims: int, model: str) -> tuple[str, tuple[int, ...] | None]:
    """(path joined with ``/``, order of axes or ``None``) of a published tensor of ``dims`` dimensions.

    ``role`` is what its module is, ``model`` the family.
    """
    *path, last = name.split(".")
    axes = None
    if last in ("weight", "bias", "running_mean", "running_var"):
        last, axes = leaf(last, role, dims)
    found = "/".join([*path, last])
    for pattern, other in RECORD.get(model, ()):
        found = re.sub(pattern, other, found)
    return found, axes


def leaf(last: str, role: str, dims: int) -> tuple[str, tuple[int, ...] | None]:
    """Flax's name of a leaf and the order of its axes: kernels are [in, out], those of convolutions [.., in, out]."""
    if last == "weight":
        if role == "linear" and dims == 2:
            return "kernel", (1, 0)
        if role in ("conv", "conv_transpose"):
            return "kernel", (*range(2, dims), 1, 0)
        if role in ("embedding", "norm", "batch_norm"):
            return ("embedding" if role == "embedding" else "scale"), None
    if role == "batch_norm" and last.startswith("running_"):
        return last.removeprefix("running_"), None
    return last, None


def to_torch(path: str, dims: int) -> tuple[str, tuple[int, ...] | None]:
    """(published PyTorch name, order of axes or ``None``) of a Flax path whose array has ``dims`` dimensions."""
    *parts, last = path.split("/")
    statistics = parts[:1] == ["batch_stats"]
    if parts[:1] in (["params"], ["batch_stats"]):
        parts = parts[1:]
    if last == "kernel" and dims >= 2:
        return ".".join([*parts, "weight"]), (dims - 1, dims - 2, *range(dims - 2))
    last = {"scale": "weight", "embedding": "weight", "kernel": "weight"}.get(last, last)
    return ".".join([*parts, f"running_{last}" if statistics and last in ("mean", "var") else last]), None
