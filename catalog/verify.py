"""Checking a model folder without building the model in memory."""

import hashlib
from collections import Counter
from pathlib import Path

import torch

from catalog.building import read_config, skeleton
from catalog.checkpoints.plan import plan
from catalog.checkpoints.readers import open_folder
from catalog.errors import LoadError


def verify(folder: str | Path) -> str:
    """What a folder holds, in lines: class, parameters, types, files with their SHA-256.

    Every tensor's name and shape is checked against the architecture, and every value must be finite. Raises LoadError or
    ConfigError listing what is wrong.
    """
    folder = Path(folder)
    name, head, config = read_config(folder)
    model = skeleton(name, config, head)
    reader = open_folder(folder)
    made = plan(model, reader, config)
    types, wrong = Counter(), []
    for tensor_name in reader.shapes():
        tensor = reader.read(tensor_name)
        types[str(tensor.dtype).removeprefix("torch.")] += 1
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            wrong.append(tensor_name)
    if wrong:
        raise LoadError(f"{reader.path}: values that are not finite in {', '.join(wrong)}")
    lines = [
        f"model    {name}, {head or 'backbone'}: {sum(p.numel() for p in model.parameters()):,} parameters",
        f"tensors  {len(made.files)} read, {len(made.left)} left, all names and shapes as expected, all values finite",
        f"types    {', '.join(f'{count} {kind}' for kind, count in types.items())}",
    ]
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".json", ".txt", ".model")):
        lines.append(f"sha256   {_digest(path)}  {path.name}")
    return "\n".join(lines)


def _digest(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
