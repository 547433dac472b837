"""A call to export a model with: an input of every kind that pages take, and which of its sizes stay open."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from catalog.dual import DualEncoder
from catalog.errors import ConfigError
from catalog.images import pair
from catalog.ports.parity import flat
from catalog.ports.request import Request, request

LENGTH, DECODER_LENGTH, SAMPLES, CHOICES, SIDE = 6, 5, 4000, 2, 224  # of the example; all but the last two stay open
# How much longer than the example's, by its name, an open size is in a second and a third call.
LONGER = {"decoder_length": (5, 1), "images": (1, 2), "samples": (900, 400)}
_TYPES = ["int64", "int32", "int16", "int8", "uint8", "bool", "float64", "float32", "float16", "bfloat16"]
_DTYPES = {f"torch.{name}": name for name in _TYPES} | {name: name for name in _TYPES}


@dataclass(frozen=True)
class Sample:
    """Tensors by path (``input_ids``; nested ones ``past_key_values.0.1``), and the name of each of their open dimensions.

    ``flags`` are arguments that are Python values, as ``use_cache``.
    """

    tensors: dict[str, Tensor]
    axes: dict[str, tuple[int | str, ...]]
    request: Request

    @property
    def flags(self) -> dict[str, Any]:
        """Arguments that are Python values."""
        return dict(self.request.flags)

    def outputs(self, value: Any) -> dict[str, Any]:
        """A model's outputs by dotted name; of what was read and is given back longer, the name says that it is the present."""
        return {
            name.replace("past_", "present_", 1) if name in self.axes else name: x for name, x in flat(value).items()
        }

    def resized(self, number: int, lengths: bool = True) -> dict[str, Tensor]:
        """The tensors of another call: a batch of one (``number`` 0) or of one more (1), and with ``lengths`` longer texts."""
        found = {}
        for path, tensor in self.tensors.items():
            for d, axis in enumerate(self.axes[path]):
                size = tensor.shape[d]
                if axis == "batch":
                    size = 1 if number == 0 else size + 1
                elif isinstance(axis, str) and (lengths or axis == "images"):
                    size += LONGER.get(axis, (3, 1))[number]
                tensor = tensor.index_select(d, torch.arange(size) % tensor.shape[d])
            found[path] = tensor
        return found


def sample(model: nn.Module, inputs: Mapping[str, Any]) -> Sample:
    """The call that ``inputs`` (arrays or tensors by published name, nested ones too) make of ``model``."""
    asked, arrays = request(inputs, False, _DTYPES, _dtype(model))
    tensors = {path: torch.as_tensor(array) for path, array in arrays.items()}
    axes = {
        path: tuple(size if size is not None else _axis(model, tensors, path, d) for d, size in enumerate(dims))
        for path, _, dims in asked.inputs
    }
    # a batch of one stands for any batch, and nothing is traced with it, as sizes of one broadcast
    wide = {
        path: torch.cat([t, t]) if axes[path][:1] == ("batch",) and t.shape[0] == 1 else t
        for path, t in tensors.items()
    }
    return Sample(wide, axes, asked)


def _axis(model, tensors, path, d):
    name = path.split(".")[0]
    if d == 0:
        return "images" if isinstance(model, DualEncoder) and name == "pixel_values" else "batch"
    if name == "past_key_values":
        return "past"
    if name.startswith("decoder_"):
        return "decoder_length"
    if "input_values" in tensors:
        return "samples"
    return "keys" if name == "attention_mask" and "past_key_values.0.0" in tensors else "length"


def _dtype(model):
    return str(next(p.dtype for p in model.parameters() if p.is_floating_point())).removeprefix("torch.")


def example(model: nn.Module, image: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """What a processor gives ``model``: two texts, images or recordings, the second shorter and padded where texts are.

    ``image`` is (height, width) in pixels, the configured size unless given. Only shapes and types of ``model`` are read.
    Raises ConfigError naming an argument that the model requires and this function does not know.
    """
    names, kind = _arguments(model), getattr(torch, _dtype(model))
    text, vision = getattr(model.config, "text", model.config), getattr(model.config, "vision", model.config)
    draw = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {}
    if "input_values" in names:
        made["input_values"] = torch.randn(2, SAMPLES, generator=draw).to(kind)
    if "input_features" in names:
        made["input_features"] = torch.randn(2, text.mels, 2 * text.frames, generator=draw).to(kind)
    if "pixel_values" in names:
        sides = image or pair(getattr(vision, "image", SIDE))
        made["pixel_values"] = torch.randn(2, vision.channels, *sides, generator=draw).to(kind)
        if "pixel_mask" in names:
            made["pixel_mask"] = torch.ones(2, *sides, dtype=torch.int64)
    if "input_ids" in names:
        several = (CHOICES,) if {"choices", "mc_token_ids"} & set(names) else ()
        made["input_ids"] = _ids(text, (2, *several, LENGTH), draw)
        made["attention_mask"] = _real(made["input_ids"])
        made["input_ids"] = _ended(made["input_ids"], text)
    elif "input_values" in made and "attention_mask" in names:
        made["attention_mask"] = torch.ones(2, SAMPLES, dtype=torch.int64)
    if "token_type_ids" in names and getattr(text, "segments", 1) > 1:
        made["token_type_ids"] = torch.zeros_like(made["input_ids"])
    if "decoder_input_ids" in names:
        made["decoder_input_ids"] = _ids(text, (2, DECODER_LENGTH), draw)
    missing = [name for name in _required(model) if name not in made]
    if missing or not made:
        raise ConfigError(
            f"{model.name}{f' with {model.head}' if model.head else ''}: no example is known of {', '.join(missing)}; "
            "give one of each input: catalog.export(..., inputs={...})"
        )
    return made


def _arguments(model):
    """What ``forward`` takes; of a head that hands inputs on, its backbone's too.

    Decoder input is the writer's own: a head that reads the whole has its decoder read the input itself.
    """
    own = inspect.signature(model.forward).parameters
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own.values()):
        inner = inspect.signature(model.backbone.forward).parameters
        return [*own, *(name for name in inner if name != "decoder_input_ids")]
    return list(own)


def _required(model):
    named = inspect.signature(model.forward).parameters.values()
    return [p.name for p in named if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _ids(c, shape, draw):
    return torch.randint(min(5, c.vocab // 2), c.vocab, shape, generator=draw)


def _real(ids):
    """The second text is two tokens shorter."""
    mask = torch.ones_like(ids)
    mask[1, ..., -2:] = 0
    return mask


def _ended(ids, c):
    """Texts with the end that some heads look for, and padding behind it."""
    ends = c.eos_id if isinstance(c.eos_id, tuple) else (c.eos_id,)
    if ends[0] is not None and ends[0] < c.vocab:
        ids[0, ..., -1] = ids[1, ..., -3] = ends[0]
    ids[1, ..., -2:] = c.pad_id or 0
    return ids
