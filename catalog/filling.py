"""Values for a model that was built without memory and then, perhaps, divided among processes: only what is held is read.

A parameter may be a ``DTensor`` by the time it is filled. Of a published tensor then only the part is read that this
process holds, as far as parts of the two correspond (:mod:`catalog.ops`); of others the whole is read and cut.
"""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from catalog.building import materialise
from catalog.checkpoints.plan import Plan, plan, ties
from catalog.checkpoints.readers import open_folder
from catalog.errors import LoadError
from catalog.layers.draws import draw
from catalog.ops import Box


class Filling:
    """How ``model``, on the meta device, gets its values; to be made before it is divided, and called once afterwards.

    seed     new weights are drawn from it, one at a time, with the values of ``catalog.build(..., seed=seed)``
    folder   a checkpoint in the published layout, or ``None``: all weights are new
    part     path of the submodule that the checkpoint is of, as ``"backbone"``
    new      patterns of its names that the checkpoint may lack

    Raises LoadError as :func:`catalog.load` does, when it is made.
    """

    def __init__(self, model: nn.Module, *, seed: int, folder: Path | None = None, part: str = "", new=()):
        self.model, self.seed, self.prefix = deepcopy(model), seed, f"{part}." if part else ""
        self.read = self.model.get_submodule(part)
        if part:
            self.read.name, self.read.head = model.name, None
        self.reader = None if folder is None else open_folder(Path(folder))
        self.plan = Plan() if folder is None else plan(self.read, self.reader, model.config, tuple(new))

    def __call__(self, model: nn.Module, device: torch.device) -> None:
        """Give every parameter and buffer of ``model`` memory on ``device`` and its value. Memory beside it: one tensor."""
        materialise(model, device, None)
        held = model.state_dict(keep_vars=True)
        filled = self._load(held) if self.reader is not None else set()
        shared = ties(self.model)
        fresh = {name for name in held if shared.get(name, name) not in filled and name not in filled}

        def put(name: str, value: Tensor) -> None:
            if name in fresh:
                _local(held[name]).copy_(value[_box(held[name])])

        if fresh - shared.keys():
            draw(self.model, self.model.config.init_std, self.seed, put)

    @torch.no_grad()
    def _load(self, held: dict[str, Tensor]) -> set[str]:
        """Read what the plan says; the names that now have values."""
        shared, shapes = ties(self.model), self.reader.shapes()
        filled, wrong = set(), []
        for step in self.plan.steps:
            sizes = [shapes[self.plan.files[name]] for name in step.published]
            for index, ours in enumerate(step.ours):
                name = self.prefix + ours
                if name not in held:  # of a stage that another process has
                    continue
                value, first = self._part(step, index, _box(held[name]), sizes), shared.get(name, name)
                if first in filled:
                    wrong += [] if _same(held[name], value) else [f"{name} and {first}"]
                else:
                    _local(held[name]).copy_(value)
                    filled |= {name, first}
        for copy, ours in self.plan.tied.items():
            target = held.get(self.prefix + ours)
            if target is not None and not _same(target, self.reader.read(self.plan.files[copy], _box(target))):
                wrong.append(f"{copy} and {ours}")
        if wrong:
            raise LoadError(
                f"{self.reader.path}: tensors that are one in this model differ in the file: {'; '.join(wrong)}. "
                "If they were trained apart, set tie_word_embeddings to false in config.json"
            )
        return filled

    def _part(self, step, index: int, box: Box, shapes) -> Tensor:
        """The part ``box`` of our tensor number ``index`` of a step."""
        files = [self.plan.files[name] for name in step.published]
        if step.op is None:
            return self.reader.read(files[0], box)
        if hasattr(step.op, "where"):
            number, theirs, turned = step.op.where(index, box, shapes, self.read.config)
            found = self.reader.read(files[number], theirs)
            return found.t() if turned else found
        whole = [self.reader.read(name, tuple(slice(0, n) for n in shape)) for name, shape in zip(files, shapes)]
        return step.op.load(whole, self.read.config)[index][box]


def _local(tensor: Tensor) -> Tensor:
    """What this process holds of it."""
    return tensor.detach().to_local() if isinstance(tensor, DTensor) else tensor.detach()


def _box(tensor: Tensor) -> Box:
    """The part of the whole tensor that this process holds."""
    if not isinstance(tensor, DTensor):
        return tuple(slice(0, size) for size in tensor.shape)
    shape, start = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(slice(at, at + size) for at, size in zip(start, shape))


def _same(held: Tensor, value: Tensor) -> bool:
    mine = _local(held)
    return mine.shape == value.shape and torch.equal(mine, value.to(mine))
