"""ONNX through PyTorch's exporter, from the same program as the ports'; run by ONNX Runtime."""

import json
import logging
import re
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from catalog.errors import PortError
from catalog.exporting.sample import Sample
from catalog.ports import export


def write(model, sample: Sample, path: Path, facts: dict[str, Any]) -> None:
    """Write ``path`` (and ``path.data`` beside it where the weights exceed what one file may hold).

    The opset is the one that PyTorch writes by default. Metadata: ``model``, ``head`` and ``labels`` (JSON).
    """
    program, structure = export.exported(model, sample.request)
    names = list(sample.outputs(structure))
    with _quiet(), torch.no_grad():  # with gradients, attention with a learned bias would be taken apart differently
        try:
            made = torch.onnx.export(
                program, dynamo=True, verbose=False, optimize=True, output_names=names,
                input_names=list(sample.axes), dynamic_shapes=([*_named(program, sample)],),
            )  # fmt: skip
        except Exception as error:
            raise PortError(_refusal(export.titled(model, sample.request), program, error)) from error
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # where each op stands in our files, with the paths of this machine
    for name in ("model", "head", "labels"):
        if facts[name] is not None:
            made.model.metadata_props[name] = facts[name] if isinstance(facts[name], str) else json.dumps(facts[name])
    made.save(path)


def opened(path: Path):
    """The file as a function from arrays by input name to arrays by output name."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PortError(f"{path.name}: ONNX Runtime does not take it ({_first(error)})") from None
    known = {given.name for given in session.get_inputs()}
    names = [out.name for out in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(names, {n: a for n, a in arrays.items() if n in known})))


def _named(program, sample):
    """For each input its open dimensions by name; one that is bound to another's has that one's name already."""
    shapes, seen = export.shapes(program), set()
    for shape, axes in zip(shapes, sample.axes.values()):
        named = {}
        for d, (size, axis) in enumerate(zip(shape, axes)):
            if isinstance(axis, str) and str(size) not in seen:
                seen.add(str(size))
                named[d] = axis
        yield named


def _refusal(title, program, error):
    """The op that could not be translated, and the module that it stands in."""
    causes, cause = [str(error)], error.__cause__
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__
    found = re.search(r"target=torch\.ops\.([\w.]+)\]", "\n".join(causes))
    op = found[1] if found else None
    for node in program.graph.nodes:
        # the page's own op: what failed may be a part of it, aten.special_bessel_j0 being prims.bessel_j0
        if op is not None and op.split(".")[1] in str(node.target):
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            where = stack[-1][0].removeprefix("model").lstrip(".") if stack else ""
            return f"{title}: '{where}' uses {node.target}, which cannot be written as ONNX ({_first(causes[-1])})"
    return f"{title}: cannot be written as ONNX{f': {op}' if op else ''} ({_first(causes[-1])})"


def _first(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quiet():
    """What PyTorch tells of packages that it could also translate is not about the model."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
