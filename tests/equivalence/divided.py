"""One process of several: models of the golden files whole and divided, in float64, their outputs and gradients compared.

``python divided.py FOLDER CASES``: CASES is a JSON list of golden names. Writes FOLDER/out.RANK.json: for each way of dividing
and each case the largest difference, where it is and how many parameters are divided, or the message of a refusal.
"""

import json
import sys
from copy import deepcopy
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

import catalog
from tests.support import golden
from trainer.errors import OptionError
from trainer.strategies import context_parallel, tensor_parallel


def build(case, folder):
    """The model of a golden file in float64, every parameter drawn, so that none is zero; without dropout."""
    path = folder / f"config.{distributed.get_rank()}.json"
    path.write_text(json.dumps(case.config()))
    name, head, config = catalog.read_config(path)
    model = catalog.build(name, config, head=head, dtype=torch.float64)
    torch.manual_seed(0)
    for p in model.parameters():
        p.data.normal_(0.0, 0.2)
    return model.eval()


def doubled(value):
    """Inputs with every float as float64."""
    if isinstance(value, dict):
        return {key: doubled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [doubled(item) for item in value]
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def outcome(model, batch, scale, joined):
    """Every output, and the gradient of a loss that all of them have a part in.

    The encoder's states come out beside what the decoder made of them: a loss of both would have two gradients, rounded one
    by one where T5 computes in fp32. No head has such a loss.
    """
    found = {
        name: tensor for name, tensor in golden.outputs(model(**batch)).items()
        if tensor.is_floating_point() and name != "encoder_last_hidden_state"
    }  # fmt: skip
    loss = sum((t * torch.linspace(-1, 2, t.numel(), dtype=t.dtype).view_as(t)).sum() for t in found.values())
    (loss * scale).backward()
    grads = {name: joined(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    return {name: tensor.detach() for name, tensor in found.items()} | {f"grad {n}": g for n, g in grads.items()}


def compared(case, folder, way):
    """The largest difference in proportion, its place, and the number of divided parameters."""
    whole, batch = build(case, folder), doubled(case.inputs)
    try:
        divided, scale, joined = way(deepcopy(whole))
    except OptionError as e:
        return str(e)
    found, expected = outcome(divided, batch, scale, joined), outcome(whole, batch, 1.0, lambda grad: grad)
    if found.keys() != expected.keys():
        return f"only one has {sorted(found.keys() ^ expected.keys())}"
    worst = {
        name: float((found[name] - wanted).abs().max() / wanted.abs().max().clamp_min(1e-3))
        for name, wanted in expected.items() if wanted.numel()
    }  # fmt: skip
    name = max(worst, key=worst.get)
    return [worst[name], name, sum(isinstance(p, DTensor) for p in divided.parameters())]


def tensor(mesh):
    """Matrices divided: a gradient that is whole on each process is the gradient."""

    def way(model):
        tensor_parallel.check(model, mesh.size())
        return tensor_parallel.split(model, mesh), 1.0, lambda g: g.full_tensor() if isinstance(g, DTensor) else g

    return way


def context(mesh):
    """Tokens divided: each process has a part of the loss, and the gradients sum up to the gradient."""

    def summed(grad):
        total = grad.clone()
        distributed.all_reduce(total)
        return total

    def way(model):
        context_parallel.check(model, mesh.size())
        return context_parallel.split(model, mesh.get_group()), 1 / mesh.size(), summed

    return way


def main(folder, names):
    """Compare every case both ways."""
    distributed.init_process_group("gloo")
    mesh, folder, names = init_device_mesh("cpu", (distributed.get_world_size(),)), Path(folder), json.loads(names)
    results = {
        name: {case.name: compared(case, folder, way) for case in golden.cases() if case.name in names}
        for name, way in {"tp": tensor(mesh), "cp": context(mesh)}.items()
    }
    (folder / f"out.{distributed.get_rank()}.json").write_text(json.dumps(results))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
