"""Loading published checkpoints: strict, tensor by tensor, nothing or everything."""

from pathlib import Path

import torch
from torch import nn

from catalog.building import derive, materialise, read_config, skeleton
from catalog.checkpoints.plan import Plan, plan, ties
from catalog.checkpoints.readers import Reader, open_folder
from catalog.errors import LoadError
from catalog.layers.init import initialise


def load(
    source: str | Path, head: str | None = None, *, dtype=None, device=None, new=(), revision=None, prefer=""
):
    """The model of a checkpoint, in evaluation mode.

    source    a folder in the published layout (``config.json`` and weights), or a hub id
    head      a task of :func:`catalog.registry.heads`, ``"backbone"``, or ``None``: what the checkpoint says it is
    dtype     of the parameters; ``None`` keeps the file's
    new       patterns of our names that may be absent from the file and then start fresh (``["out.*"]``)
    revision  of the hub repository
    prefer    the weight file to read where a folder holds several

    Every missing, unexpected and misshapen tensor is listed in one LoadError, and nothing is loaded. Tensors that belong to
    another head of the same architecture are left unread; ``model.loaded`` says which. Memory: the model plus one tensor.
    """
    folder = local_folder(source, revision)
    name, own, config = read_config(folder)
    head = own if head is None else None if head == "backbone" else head
    model = skeleton(name, config, head)
    reader = open_folder(folder, prefer)
    made = plan(model, reader, config, (new,) if isinstance(new, str) else tuple(new))
    _fill(model, reader, made, config, dtype, torch.device(device or "cpu"))
    model.loaded = made
    return model.eval()


def local_folder(source: str | Path, revision: str | None = None) -> Path:
    """The folder of ``source``: itself where it is one, else fetched from the hub (or found in its cache)."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file() or path.is_absolute() or str(source).startswith((".", "~")) or str(source).count("/") > 1:
        raise LoadError(f"{source}: no such folder; a model folder holds config.json and its weights")
    from catalog.checkpoints.hub import fetch

    return fetch(str(source), revision)


def _fill(model: nn.Module, reader: Reader, made: Plan, config, dtype, device) -> None:
    """Read every tensor once and put it in place; tied parameters stay one tensor."""
    shared = ties(model)
    copies = {copy for _, copy in made.copies}
    checks, kept = [], {}
    for step in made.steps:
        tensors = [reader.read(made.files[name]) for name in step.published]
        if step.op is not None:
            tensors = step.op.load(tensors, config)
        for name, tensor in zip(step.ours, tensors):
            if dtype is not None and tensor.is_floating_point():
                tensor = tensor.to(dtype)
            if name in copies:
                checks.append((shared[name], name, tensor))
            else:
                kept[shared.get(name, name)] = tensor
                _place(model, shared.get(name, name), tensor.to(device))
    for copy, ours in made.tied.items():
        checks.append((shared.get(ours, ours), copy, reader.read(made.files[copy])))
    wrong = [f"{copy} and {first}" for first, copy, tensor in checks if not _same(kept[first], tensor)]
    if wrong:
        raise LoadError(
            f"{reader.path}: tensors that are one in this model differ in the file: {'; '.join(wrong)}. "
            "Nothing was loaded. If they were trained apart, set tie_word_embeddings to false in config.json"
        )
    _retie(model, shared)
    if made.fresh:
        materialise(model, device, dtype or next(iter(kept.values())).dtype)
        initialise(model, config.init_std, only=set(made.fresh))
    derive(model)


def _same(one, other):
    return one.shape == other.shape and torch.equal(one, other.to(one.dtype))


def _place(model, name, tensor):
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=module._parameters[leaf].requires_grad)


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
