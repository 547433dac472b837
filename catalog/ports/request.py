"""What a program is asked for: which inputs are given, of which types, which of their dimensions stay open, which flags.

A port makes one program a request, when it is first met. Dimensions named here as open hold for every size; all others
(image sides, feature counts) belong to the request. The table is by input name, since names are the published ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import PortError
from catalog.ports.ir import digest

# Open dimensions by input name; negative ones count from the end. Everything else: the batch, and of whole numbers and
# masks the last dimension too (texts).
OPEN = {
    "pixel_values": (0,),
    "pixel_mask": (0,),
    "input_values": (0, 1),
    "input_features": (0,),
    "inputs_embeds": (0, 1),
    "decoder_inputs_embeds": (0, 1),
    "encoder_hidden_states": (0, 1),
    "encoder_outputs": (0, 1),
    "past_key_values": (0, 2),
    "bbox": (0, 1),
    "entity_position_ids": (0, 1),
    "bool_masked_pos": (0,),
    "lang_id": (0,),
    "head_mask": (),
}
# Inputs counted in frames: how many there are follows from the samples by floors that an exporter cannot turn round, so
# where one is given the lengths of all belong to the request.
_FRAMES = {"mask_time_indices", "sampled_negative_indices"}


@dataclass(frozen=True)
class Request:
    """``inputs``: (path, type, dimensions; ``None`` is an open one). ``flags``: Python values by name.

    ``sizes`` are those of the arguments at hand: what fits together there fits together while the page is traced.
    """

    inputs: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    flags: tuple[tuple[str, Any], ...]
    train: bool
    dtype: str = "float32"  # of the parameters
    sizes: tuple[tuple[int, ...], ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """A hash of the content."""
        return digest([self.inputs, self.flags, self.train, self.dtype])

    def __str__(self):
        names = sorted({path.split(".")[0] for path, _, _ in self.inputs} | {name for name, _ in self.flags})
        return f"{', '.join(names)}{' in training' if self.train else ''}"


def request(
    arguments: Mapping[str, Any], train: bool, dtypes: Mapping[str, str], dtype: str = "float32"
) -> tuple[Request, dict[str, Any]]:
    """The request that these arguments make of a model with parameters of ``dtype``, and its tensors by path.

    ``dtypes`` gives PyTorch's name of a framework's type. Raises PortError for arguments that no program takes.
    """
    tensors, flags = {}, {}
    for name, value in arguments.items():
        if name == "lengths" and value is not None:
            raise PortError(
                "a port takes padded batches with attention_mask; unpadded ones (lengths) are PyTorch's alone"
            )
        _flatten(name, value, tensors, flags)
    batch = max((t.shape[0] for t in tensors.values() if len(t.shape)), default=1)
    closed = bool(_FRAMES & tensors.keys())
    inputs = tuple(
        (path, dtypes[str(t.dtype)], _dims(path, dtypes[str(t.dtype)], tuple(t.shape), batch, closed))
        for path, t in sorted(tensors.items())
    )
    tensors = dict(sorted(tensors.items()))
    sizes = tuple(tuple(t.shape) for t in tensors.values())
    return Request(inputs, tuple(sorted(flags.items())), train, dtype, sizes), tensors


def _flatten(path, value, tensors, flags):
    if value is None:
        return
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        tensors[path] = value
    elif isinstance(value, (bool, int, float, str)):
        flags[path] = value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(f"{path}.{key}", item, tensors, flags)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _flatten(f"{path}.{i}", item, tensors, flags)
    else:
        raise PortError(f"{path}: a {type(value).__name__} is neither an array nor a plain value")


def _dims(path, dtype, shape, batch, closed):
    name = path.split(".")[0]
    text = dtype.startswith(("int", "bool")) and shape
    open_ = (0,) if closed else OPEN.get(name, (0, -1) if text else (0,))
    open_ = {d % len(shape) for d in open_ if shape and -len(shape) <= d < len(shape)}
    # A size of 1 is either a batch of one, which any batch may follow, or means something (a decoding step, broadcasting).
    return tuple(
        None if d in open_ and (size != 1 or (d == 0 and batch == 1)) else size for d, size in enumerate(shape)
    )


def rebuild(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The nested arguments that :func:`request` took apart; lists come back as tuples."""
    nested: dict[str, Any] = {}
    for path, tensor in tensors.items():
        *parts, last = path.split(".")
        here = nested
        for part in parts:
            here = here.setdefault(part, {})
        here[last] = tensor
    return {name: _tuples(value) for name, value in nested.items()}


def _tuples(value):
    if not isinstance(value, dict):
        return value
    items = {key: _tuples(item) for key, item in value.items()}
    if all(key.isdigit() for key in items):
        return tuple(items[key] for key in sorted(items, key=int))
    return items
