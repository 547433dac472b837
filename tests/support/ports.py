"""What tests of ports share: tiny published models without dropout, loaded once, and inputs of other sizes."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path

import torch

import catalog
from catalog import registry
from catalog.ports.request import rebuild, request
from tests.support import golden

CASES = [case for case in golden.cases() if case.data["class"] in registry.CLASSES]
TYPES = {"torch.int64": "int64", "torch.float32": "float32", "torch.bool": "bool", "torch.int32": "int32"}


def _weight(case):
    """How much of a model a case uses: a loss, then more inputs, then fewer tensors."""
    return ("loss" in case.data["outputs"], len(case.data["inputs"]), -len(case.data["tensors"]))


# The class of each model that stands for it: all share the backbone, and heads are made of the same few layers.
CHOSEN = {registry.CLASSES[case.data["class"]][0]: case for case in sorted(CASES, key=_weight)}
FACES = {"flax": "catalog.ports.flax", "tf": "catalog.ports.keras"}


@cache
def folder(path: Path, rate: float = 0.0) -> Path:
    """A published folder of a golden file's model with every dropout at ``rate``; without any, training has one answer."""
    case = golden.Golden(path)
    made = case.write(_place() / f"{len(list(_place().iterdir()))}")
    (made / "config.json").write_text(json.dumps(_rated(case.config(), rate)))
    return made


@cache
def _place() -> Path:
    """Where folders stand while this process lives."""
    made = tempfile.mkdtemp(prefix="trivium-port-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def _rated(config, rate):
    """``config``, those inside it too, with every dropout at ``rate``; whole layers are never dropped."""
    return {
        key: _rated(value, rate) if isinstance(value, dict)
        else (0.0 if "layerdrop" in key else rate)
        if "drop" in key and isinstance(value, (int, float)) and not isinstance(value, bool)
        else value
        for key, value in config.items()
    }  # fmt: skip


def torch_model(case, rate: float = 0.0):
    """The PyTorch model of a case, every dropout at ``rate``."""
    return catalog.load(folder(case.path, rate))


def port(model, framework: str):
    """``model`` as a port."""
    from catalog.ports import export

    return import_module(FACES[framework]).Port(export.blueprint(model), export.values(model))


def inputs(case):
    """A case's inputs, without boxes to be matched: which answers belong together is found on the processor, in PyTorch."""
    return {name: v for name, v in case.inputs.items() if not (name == "labels" and isinstance(v, (list, dict)))}


def larger(given, lengths=True):
    """The same inputs for a batch one larger, and with ``lengths`` for lengths one larger where they are open."""
    asked, tensors = request(given, False, TYPES)
    found = {}
    for path, _, dims in asked.inputs:
        tensor = tensors[path]
        for d, size in enumerate(dims):
            if size is None and (d == 0 or lengths):
                tensor = torch.cat([tensor, tensor.narrow(d, 0, 1)], d)
        found[path] = tensor
    return rebuild(found) | dict(asked.flags)


def images(given, count):
    """The same inputs for ``count`` images that differ: a batch norm over two values has no digits to compare."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(count, *given["pixel_values"].shape[1:], generator=generator)
    labels = {"labels": torch.arange(count) % (given["labels"].max() + 1)} if "labels" in given else {}
    return {**given, "pixel_values": pixels, **labels}
