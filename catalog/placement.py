"""A model spread over devices, memory and disk, through accelerate; a block is never split."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from catalog.errors import LoadError, did_you_mean
from catalog.layers import Stack, TokenEmbedding


def place(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Put ``tensor`` into ``model`` as the parameter or buffer of this name."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=module._parameters[leaf].requires_grad)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The parts that stay whole on one device, by path: blocks of stacks, and embeddings (which look into their tables)."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, Stack):
            found |= {f"{path}.{name}": block for name, block in module.named_children()}
        elif isinstance(module, TokenEmbedding):
            found[path] = module
    return found


class Placement:
    """Where each tensor of ``model`` (on the meta device) goes.

    device_map  ``"auto"``, or path of a module -> device: an index or name of an accelerator, ``"cpu"`` or ``"disk"``
    max_memory  for ``"auto"``: device -> bytes or ``"2GiB"``; ``None`` is what is free
    folder      where parameters on the disk are kept; it must live as long as the model
    types       of each tensor, by our name

    ``model.hf_device_map`` is the map in the end. Parameters on the disk are read for each forward pass; such a model
    computes and is not trained. Raises LoadError naming the key or what is missing.
    """

    def __init__(self, model, device_map, max_memory, folder, types: Mapping[str, torch.dtype]):
        from accelerate import infer_auto_device_map

        self.model, self.index = model, {}
        self.whole = sorted({type(block).__name__ for block in blocks(model).values()})
        if device_map == "auto":
            self.map = dict(infer_auto_device_map(
                model, max_memory=max_memory, no_split_module_classes=self.whole, special_dtypes=dict(types)
            ))  # fmt: skip
        elif isinstance(device_map, Mapping):
            self.map = dict(device_map)
            self._check(max_memory)
        else:
            raise LoadError(f"device_map={device_map!r}: it is 'auto' or a table from a module's path to a device")
        self.folder = None if folder is None else Path(folder)
        if "disk" in self.map.values():
            self._make_folder()

    def _check(self, max_memory):
        if max_memory is not None:
            raise LoadError('max_memory is for device_map="auto"; a table says itself where everything goes')
        paths = dict(self.model.named_modules()) | dict(self.model.named_parameters(remove_duplicate=False))
        whole = blocks(self.model)
        for key in self.map:
            if key not in paths:
                raise LoadError(f"device_map: the model has no part '{key}'{did_you_mean(key, paths)}")
            inside = [path for path in whole if key.startswith(f"{path}.")]
            if inside:
                raise LoadError(f"device_map: '{key}' would split {inside[0]}, which stays on one device; name that")
        left = [name for name, _ in self.model.named_parameters() if self._device(name) is None]
        if left:
            raise LoadError(f"device_map leaves {len(left)} tensors without a device: {', '.join(left[:3])}, ...")

    def _make_folder(self):
        parts = [key or "the model" for key, device in self.map.items() if device == "disk"]
        if self.folder is None:
            raise LoadError(
                f"{', '.join(parts[:3])}{', ...' if len(parts) > 3 else ''}: no room but on the disk; "
                "give offload_folder=, or more max_memory"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoadError(f"{self.folder}: cannot be made ({error.strerror})") from None

    def _device(self, name):
        """The device of the longest key that ``name`` stands under."""
        keys = [key for key in self.map if key in ("", name) or name.startswith(f"{key}.")]
        return self.map[max(keys, key=len)] if keys else None

    def put(self, name: str, tensor: Tensor) -> None:
        """Put one tensor where it belongs; of a tied one the further names on the disk get a copy each."""
        from accelerate.utils import offload_weight

        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        if name not in parameters:  # buffers are small and stay in memory
            place(self.model, name, tensor)
            return
        names = [other for other, value in parameters.items() if value is parameters[name]]
        for other in names:
            if self._device(other) == "disk":
                offload_weight(tensor, other, self.folder, self.index)
        device = next((d for d in map(self._device, names) if d != "disk"), "meta")
        place(self.model, name, tensor.to(device))

    def finish(self) -> None:
        """Install accelerate's hooks, which bring inputs to the weights and weights from the disk."""
        from accelerate import dispatch_model
        from accelerate.utils import save_offload_index

        fast = [device for device in self.map.values() if device not in ("cpu", "disk")]
        if self.index:
            save_offload_index(self.index, self.folder)
        dispatch_model(
            self.model, self.map, main_device=fast[0] if fast else "cpu", offload_dir=self.folder,
            preload_module_classes=self.whole, force_hooks="disk" in self.map.values(),
        )  # fmt: skip
