"""What tests of ports share: tiny published models without dropout, loaded once, and inputs of other sizes."""

import json
import tempfile
from functools import cache
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
CHOSEN = {case.data["model_type"]: case for case in sorted(CASES, key=_weight)}


@cache
def folder(path: Path) -> Path:
    """A published folder of a golden file's model with every dropout rate at zero, so that training has one answer."""
    case = golden.Golden(path)
    made = case.write(Path(tempfile.mkdtemp(prefix="trivium-port-")) / "published")
    config = {
        key: 0.0 if "drop" in key and isinstance(value, (int, float)) and not isinstance(value, bool) else value
        for key, value in case.config().items()
    }
    (made / "config.json").write_text(json.dumps(config))
    return made


def torch_model(case):
    """The PyTorch model of a case, without dropout."""
    return catalog.load(folder(case.path))


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
