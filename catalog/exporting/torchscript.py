"""TorchScript by tracing: ``torch.jit.load(path)`` gives a function from a dictionary of tensors to one of outputs."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from catalog.exporting.sample import Sample
from catalog.ports import export
from catalog.ports.request import rebuild


class _Flat(nn.Module):
    """The model as a function of one dictionary of tensors, giving one."""

    def __init__(self, model, sample):
        super().__init__()
        self.model, self.sample = model, sample

    def forward(self, tensors: dict[str, torch.Tensor]):
        return self.sample.outputs(self.model(**rebuild(tensors), **self.sample.flags))


def write(model, sample: Sample, path: Path, facts: dict[str, Any]) -> None:
    """Write ``path``; ``export.json`` in the archive holds ``facts``."""
    title, training = export.titled(model, sample.request), model.training
    with warnings.catch_warnings(), torch.no_grad(), export.naming_modules(model, title):
        warnings.simplefilter("ignore")  # of values that tracing fixes: the file is run at other sizes instead
        traced = torch.jit.trace(_Flat(model.eval(), sample), (sample.tensors,), strict=False, check_trace=False)
        with open(path, "wb") as file:
            torch.jit.save(traced, file, _extra_files={"export.json": json.dumps(facts)})
    model.train(training)


def opened(path: Path):
    """The file as a function from arrays by input name to arrays by output name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(path)

    def call(arrays):
        with torch.no_grad():
            out = loaded({name: torch.from_numpy(array) for name, array in arrays.items()})
        return {name: export.to_numpy(tensor) for name, tensor in out.items()}

    return call
