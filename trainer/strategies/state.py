"""Model, optimizer and scaler by the names of the model's parameters, the same names under every strategy; and back.

On every process a tensor is as it lies there: whole, or a ``DTensor`` of which this process holds a part.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.errors import DataError
from trainer.strategies import processes

WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")  # what recomputing and compiling put into names


class Saved(Protocol):
    """A checkpoint as this module reads it (``trainer.checkpoint.saved``)."""

    shapes: Mapping[str, tuple[torch.dtype, torch.Size]]  # of every saved tensor, by the names of :func:`flat`

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the saved values into these tensors, of which a process may hold parts."""

    def values(self) -> dict[str, Any]:
        """What was saved beside tensors."""


def name_of(name: str) -> str:
    """The name of a parameter in the model as its page wrote it."""
    for mark in WRAPPERS:
        name = name.replace(mark, "")
    return name


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name; a tied one stands there once, under its first name."""
    return {name_of(name): p for name, p in model.named_parameters()}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tied one stands there once."""
    # the state comes first: FSDP puts its parts in place for it
    held = {name_of(name): tensor for name, tensor in model.state_dict().items()}
    again = {name_of(name) for name, _ in model.named_parameters(remove_duplicate=False)} - parameters(model).keys()
    return {name: tensor for name, tensor in held.items() if name not in again}


def state(model: nn.Module, optimizer: Optimizer, scaler: Any = None) -> dict[str, Any]:
    """``{"model": {name: tensor}, "optimizer": {name: {entry: tensor}}, "scaler": {...}}``, on every process."""
    held = tensors(model)
    entries = {name: dict(optimizer.state[p]) for name, p in parameters(model).items() if p in optimizer.state}
    return {"model": held, "optimizer": entries, "scaler": {} if scaler is None else scaler.state_dict()}


def flat(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state in one table: ``model.NAME`` and ``optimizer.NAME.ENTRY``."""
    table = {f"model.{name}": tensor for name, tensor in found["model"].items()}
    for name, entries in found["optimizer"].items():
        table |= {f"optimizer.{name}.{entry}": tensor for entry, tensor in entries.items()}
    return table


def load(saved: Saved, model: nn.Module, optimizer: Optimizer | None = None, scaler: Any = None) -> None:
    """Put a saved state into a model and, where given, its optimizer and scaler, whatever strategy it was saved under.

    All processes call this together. Raises ``DataError`` listing every tensor that does not fit, before one is changed.
    """
    trained = None
    if optimizer is not None:
        trained = {name: p for name, p in parameters(model).items() if p.requires_grad}
    entries = read(saved, tensors(model), trained, None if optimizer is None else optimizer.defaults.get("fused"))
    if optimizer is not None:
        optimizer.state.clear()
        for name, its in entries.items():
            optimizer.state[trained[name]].update(its)
    if scaler is not None and (values := saved.values()["scaler"]):
        scaler.load_state_dict(values)


def read(
    saved: Saved, held: Mapping[str, Tensor], trained: Mapping[str, Tensor] | None, fused: bool | None = None
) -> dict[str, dict[str, Tensor]]:
    """Fill the model's tensors ``held`` by name, and return what the optimizer kept of each of ``trained``, divided alike.

    All processes call this together. Raises ``DataError`` listing every tensor that does not fit, before one is changed.
    """
    wanted = {f"model.{name}": tensor for name, tensor in held.items()}
    _check(saved, wanted, trained)
    entries = {} if trained is None else _entries(saved, trained, fused)
    saved.fill(wanted | flat({"model": {}, "optimizer": entries}))
    return entries


def _entries(saved: Saved, trained: Mapping[str, Tensor], fused: bool | None) -> dict[str, dict[str, Tensor]]:
    """Tensors without values for what the optimizer keeps of each parameter, divided as the parameter is."""
    entries: dict[str, dict[str, Tensor]] = {}
    for key, (dtype, shape) in saved.shapes.items():
        kind, _, rest = key.partition(".")
        name, _, entry = rest.rpartition(".")
        if kind != "optimizer" or name not in trained:  # the latter: of another stage of a pipeline
            continue
        p = trained[name]
        if entry != "step" and shape == p.shape:
            tensor = torch.empty_like(p, dtype=dtype, requires_grad=False)
        else:
            on_cpu = entry == "step" and not fused  # only fused kernels count steps on the device
            tensor = torch.empty(shape, dtype=dtype, device="cpu" if on_cpu else p.device)
        entries.setdefault(name, {})[entry] = tensor
    return entries


def _check(saved: Saved, wanted: dict[str, Tensor], trained: Mapping[str, Tensor] | None) -> None:
    """Compare names and shapes; processes may hold different names, as stages of a pipeline do."""
    problems = [f"missing     {key.partition('.')[2]}" for key in wanted.keys() - saved.shapes.keys()]
    for key in wanted.keys() & saved.shapes.keys():
        shape = saved.shapes[key][1]
        if shape != wanted[key].shape:
            name = key.partition(".")[2]
            problems.append(f"shape       {name}: checkpoint {list(shape)}, model {list(wanted[key].shape)}")
    mine = problems, list(wanted), None if trained is None else list(trained)
    found = processes.gather(mine)
    held = {key for _, keys, _ in found for key in keys}
    everything = {problem for problems, _, _ in found for problem in problems}
    everything |= {f"unexpected  {key[6:]}" for key in saved.shapes if key.startswith("model.") and key not in held}
    if trained is not None:
        learning = {name for _, _, names in found for name in names}
        told = {key[10:].rpartition(".")[0] for key in saved.shapes if key.startswith("optimizer.")}
        fixed = {name for name in told - learning if f"model.{name}" in held}  # the others are unexpected already
        everything |= {f"untrained   {name}: the checkpoint has optimizer state of it" for name in fixed}
    if everything:
        raise DataError(
            f"the checkpoint is not of this model, {len(everything)} tensors differ:\n  "
            + "\n  ".join(sorted(everything))
            + "\nnothing was loaded; resume with the configuration the run was started with (config.yaml in its folder)"
        )
