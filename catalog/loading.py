"""Loading published checkpoints: strict, tensor by tensor, nothing or everything."""

from pathlib import Path

import torch
from torch import nn

from catalog import cards
from catalog.building import derive, materialise, read_config, skeleton
from catalog.checkpoints.plan import Plan, plan, ties
from catalog.checkpoints.readers import Reader, open_folder
from catalog.errors import LoadError, did_you_mean
from catalog.layers.init import initialise
from catalog.placement import Placement, place


def load(
    source: str | Path, head: str | None = None, *, dtype=None, device=None, new=(), revision=None, prefer="",
    device_map=None, max_memory=None, offload_folder=None,
):  # fmt: skip
    """The model of a checkpoint, in evaluation mode.

    source    a folder in the published layout (``config.json`` and weights), or a hub id
    head      a task of :func:`catalog.registry.heads`, ``"backbone"``, or ``None``: what the checkpoint says it is
    dtype     of the parameters; ``None`` keeps the file's
    new       patterns of our names that may be absent from the file and then start fresh (``["out.*"]``)
    revision  of the hub repository
    prefer    the weight file to read where a folder holds several
    device_map, max_memory, offload_folder   a model spread over devices: see :class:`catalog.placement.Placement`

    Every missing, unexpected and misshapen tensor is listed in one LoadError, and nothing is loaded. Tensors that belong to
    another head of the same architecture are left unread; ``model.loaded`` says which. Memory: the model plus one tensor.
    Code in a folder (``auto_map``) is never run.
    """
    if device_map is not None and device is not None:
        raise LoadError("device and device_map both say where the model goes; give one of them")
    if device_map is None and (max_memory is not None or offload_folder is not None):
        raise LoadError('max_memory and offload_folder are for a model spread over devices; add device_map="auto"')
    folder = local_folder(source, revision)
    name, own, config = read_config(folder)
    head = own if head is None else None if head == "backbone" else head
    model = skeleton(name, config, head)
    reader = open_folder(folder, prefer)
    made = plan(model, reader, config, (new,) if isinstance(new, str) else tuple(new))
    device = torch.device(device or "cpu")
    if device_map is None:
        _fill(model, reader, made, config, dtype, device, lambda name, tensor: place(model, name, tensor.to(device)))
    else:
        placement = Placement(model, device_map, max_memory, offload_folder, _types(reader, made, dtype))
        _fill(model, reader, made, config, dtype, device, placement.put)
        placement.finish()
    model.loaded = made
    return model.eval()


def _types(reader, made, dtype):
    """The type that each of our tensors will have."""
    return {ours: dtype if dtype is not None and kind.is_floating_point else kind
            for step in made.steps for kind in [reader.dtype(made.files[step.published[0]])] for ours in step.ours}  # fmt: skip


def local_folder(source: str | Path, revision: str | None = None) -> Path:
    """The folder of ``source``: itself where it is one, else fetched from the hub (or found in its cache)."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file() or path.is_absolute() or str(source).startswith((".", "~")) or str(source).count("/") > 1:
        raise LoadError(f"{source}: no such folder; a model folder holds config.json and its weights")
    from catalog.checkpoints.hub import fetch

    try:
        return fetch(str(source), revision)
    except LoadError as error:
        known = cards.presets()
        raise LoadError(f"{error}{'' if str(source) in known else did_you_mean(str(source), known)}") from None


def _fill(model: nn.Module, reader: Reader, made: Plan, config, dtype, device, put) -> None:
    """Read every tensor once and ``put`` it in place; of tied parameters the first that comes is all of them."""
    shared = ties(model)
    compared = {first for first, _ in made.copies} | {shared.get(ours, ours) for ours in made.tied.values()}
    seen, wrong, kind = {}, [], dtype
    for step in made.steps:
        for name, tensor in zip(step.ours, _values(reader, made, step, config, dtype)):
            first = shared.get(name, name)
            if first in seen:
                wrong += [] if _same(seen[first], tensor) else [f"{name} and {first}"]
                continue
            put(first, tensor)
            kind = kind or (tensor.dtype if tensor.is_floating_point() else None)
            if first in compared:
                seen[first] = tensor
    for copy, ours in made.tied.items():
        if not _same(seen[shared.get(ours, ours)], reader.read(made.files[copy])):
            wrong.append(f"{copy} and {ours}")
    if wrong:
        raise LoadError(
            f"{reader.path}: tensors that are one in this model differ in the file: {'; '.join(wrong)}. "
            "Nothing was loaded. If they were trained apart, set tie_word_embeddings to false in config.json"
        )
    _retie(model, shared)
    if made.fresh:
        fresh = set(made.fresh)
        materialise(model, device, kind, only=fresh)
        initialise(model, config.init_std, only=fresh)
        state = model.state_dict()
        for name in fresh - shared.keys():
            put(name, state[name])
        _retie(model, shared)
    derive(model)


def _values(reader, made, step, config, dtype):
    """Our tensors of one step; what was read for them is forgotten before the next step reads."""
    tensors = [reader.read(made.files[name]) for name in step.published]
    if step.op is not None:
        tensors = step.op.load(tensors, config)
    return [t.to(dtype) if dtype is not None and t.is_floating_point() else t for t in tensors]


def _same(one, other):
    return one.shape == other.shape and torch.equal(one, other.to(one.dtype))


def _retie(model, shared):
    for copy, first in shared.items():
        path, _, leaf = copy.rpartition(".")
        model.get_submodule(path)._parameters[leaf] = model.get_parameter(first)


def describe(model) -> str:
    """One line about what was loaded: tensors read, left and fresh."""
    made: Plan = model.loaded
    parts = [f"{sum(len(s.published) for s in made.steps)} tensors read"]
    if made.left:
        parts.append(
            f"{len(made.left)} of other heads left ({', '.join(made.left[:3])}{', ...' if len(made.left) > 3 else ''})"
        )
    if made.fresh:
        parts.append(f"{len(made.fresh)} new ({', '.join(made.fresh)})")
    return ", ".join(parts)
