"""From a page to a program: ``torch.export`` with open dimensions, checked for what would be lost in silence.

The only part of the ports, with :mod:`catalog.ports.partition`, that needs PyTorch.
"""

import inspect
from collections.abc import Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from catalog import building, registry
from catalog.errors import PortError
from catalog.ports import ops
from catalog.ports.blueprint import Blueprint, Leaf, Step
from catalog.ports.ir import Input, Program
from catalog.ports.partition import partition
from catalog.ports.request import Request, rebuild

LARGEST = 2**24  # of an open dimension, where the model itself sets no bound


def export(model: nn.Module, request: Request) -> Program:
    """The program of ``model`` for this request.

    Raises PortError naming model, module and op where something cannot be carried over: an op that ports lack, a size that
    depends on data, a dimension that the page fixes though the request leaves it open, ``no_grad`` inside ``forward``.
    """
    program, structure = exported(model, request)
    title = titled(model, request)
    _refuse_no_grad(title, program)
    program = program.run_decompositions(_decompositions())
    root, graphs, constants = partition(program, model, title)
    return Program(_inputs(request, program), structure, root, graphs, request.train, constants)


def exported(model: nn.Module, request: Request) -> tuple[torch.export.ExportedProgram, Any]:
    """PyTorch's own program of ``model`` for this request, before any op is taken apart, and the nesting of its outputs.

    It takes one list of tensors, those of ``request.inputs``, and gives a tuple of them; the nesting has their places in it.
    Raises PortError as :func:`export` does.
    """
    call = _Call(model, request)
    training = model.training
    model.train(request.train)
    try:
        program = _traced(call)
    finally:
        model.train(training)
    _check_open(call, program)
    return program, call.made.structure


def titled(model: nn.Module, request: Request) -> str:
    """What errors call the model, asked in this way."""
    return f"{model.name}{f' with {model.head}' if model.head else ''} ({request})"


class _Call(nn.Module):
    """The model as a function of a list of tensors, giving a list of tensors; remembers how the result was nested."""

    def __init__(self, model, request):
        super().__init__()
        self.model, self.request = model, request
        self.made = SimpleNamespace(structure=None)  # export puts attributes back as they were, and leaves this alone
        self.title = titled(model, request)
        self.paths = [path for path, _, _ in request.inputs]

    def forward(self, tensors: list[Tensor]):
        out = self.model(**rebuild(dict(zip(self.paths, tensors))), **dict(self.request.flags))
        flat: list[Tensor] = []
        self.made.structure = _structure(out, flat)
        return tuple(flat)

    def examples(self) -> list[Tensor]:
        """Tensors of the request's types and the arguments' sizes; an open dimension is never traced at size 1."""
        return [
            torch.zeros([max(n, 2) if d is None else d for n, d in zip(size, dims)], dtype=getattr(torch, dtype))
            for (_, dtype, dims), size in zip(self.request.inputs, self.request.sizes)
        ]


def _structure(value, flat):
    """The nesting of a result with tensors replaced by their place in ``flat``."""
    if isinstance(value, Tensor):
        flat.append(value)
        return len(flat) - 1
    if value is None:
        return None
    if hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__ if name != "mask"}
    if isinstance(value, Mapping):
        return {key: _structure(item, flat) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_structure(item, flat) for item in value]
    raise PortError(f"a model's output holds a {type(value).__name__}; ports carry tensors, tuples and outputs")


def _traced(call):
    open_ = [
        {d: Dim.DYNAMIC(min=1, max=LARGEST) for d, size in enumerate(dims) if size is None}
        for _, _, dims in call.request.inputs
    ]
    with naming_modules(call.model, call.title):
        return torch.export.export(call, (call.examples(),), dynamic_shapes=(open_,), strict=False)


@contextmanager
def naming_modules(model: nn.Module, title: str):
    """Within the block an error of PyTorch's becomes a PortError that names the module of ``model`` that was running."""
    inside: list[str] = []
    handles = [
        handle
        for path, module in model.named_modules()
        for handle in (
            module.register_forward_pre_hook(lambda m, _, path=path: inside.append(f"'{path}' ({type(m).__name__})")),
            module.register_forward_hook(lambda *_: inside.pop() and None),
        )
    ]
    try:
        yield
    except PortError:
        raise
    except Exception as error:
        where = f"in {inside[-1]}: " if inside else ""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise PortError(
            f"{title}: {where}cannot be exported ({type(error).__name__}: {' '.join(lines[:4])})"
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _refuse_no_grad(title, program):
    """``torch.no_grad`` is gone after decomposition, and gradients would flow where PyTorch stops them."""
    for node in program.graph.nodes:
        if "set_grad_enabled" in str(node.target):
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            where = stack[-1][0].removeprefix("model").lstrip(".") if stack else ""
            raise PortError(
                f"{title}: '{where}' uses torch.no_grad in forward, which other frameworks cannot see; use .detach()"
            )


def _decompositions():
    """PyTorch's own, less the ops that ports keep whole."""
    table = torch.export.default_decompositions()
    for op in list(table):
        if ops.base(op._schema.name.split("::")[1] + "." + op._schema.overload_name) is not None:
            table.pop(op)
    return table


def shapes(program: torch.export.ExportedProgram) -> list[torch.Size]:
    """The shape of each user input, in order."""
    kinds = program.graph_signature.user_inputs
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return [nodes[name].meta["val"].shape for name in kinds]


def _check_open(call, program):
    fixed = [
        f"dimension {d} of {path} to {shape[d]}"
        for (path, _, dims), shape in zip(call.request.inputs, shapes(program))
        for d, size in enumerate(dims)
        if size is None and isinstance(shape[d], int)
    ]
    if fixed:
        raise PortError(
            f"{call.title}: the page fixes {', '.join(fixed)}; compute sizes from x.shape, never as constants"
        )


def _inputs(request, program) -> tuple[Input, ...]:
    ranges = program.range_constraints

    def dim(size) -> int | tuple[int, int | None]:
        if isinstance(size, int):
            return size
        found = ranges.get(size.node.expr) if size.node.expr.is_symbol else None
        if found is None:  # bound to others, such as past + new tokens
            return (1, None)
        low, high = int(found.lower), int(found.upper)
        return (1 if low <= 2 else low, None if high >= LARGEST else high)  # export itself never traces sizes below 2

    return tuple(
        Input(path, dtype, tuple(dim(size) for size in shape))
        for (path, dtype, _), shape in zip(request.inputs, shapes(program))
    )


def source(blueprint: Blueprint, dtype: str) -> nn.Module:
    """The page of a blueprint with memory and derived tables, and no weights: enough to be traced."""
    name, head, config = building.from_published(blueprint.config)
    model = building.skeleton(name, config, head)
    building.materialise(model, "cpu", getattr(torch, dtype))
    return model


def blueprint(model: nn.Module) -> Blueprint:
    """What a port must know of ``model`` (its values excepted, derived tables included)."""
    published = registry.page(model.name).CONFIG.write(
        model.config, model.name, [registry.published_class(model.name, model.head)]
    )
    mapping = registry.names_of_model(model)
    leaves, state = _leaves(model), model.state_dict()
    kept = [name for name, leaf in leaves.items() if leaf.tie is None and leaf.kind != "table"]
    steps = [_step(step, state, model.config) for step in mapping.steps(kept, published=False)]
    tables = {name: to_numpy(model.get_buffer(name)) for name, leaf in leaves.items() if leaf.kind == "table"}
    return Blueprint(model.name, model.head, published, _arguments(model), leaves, steps, tables)


def roles(model: nn.Module) -> dict[str, str]:
    """What the module of each published tensor is; ``model`` may be on the meta device."""
    leaves = _leaves(model)
    steps = registry.names_of_model(model).steps(leaves, published=False)
    return {name: leaves[step.ours[0]].role for step in steps for name in step.published}


def _step(step, state, config) -> Step:
    """A conversion between our names and the published ones, with the published shapes."""
    tensors = [torch.empty(state[name].shape, device="meta") for name in step.ours]
    if step.op is not None:
        tensors = step.op.save(tensors, config)
    return Step(list(step.ours), list(step.published), [list(t.shape) for t in tensors], step.op is None)


def _leaves(model):
    persistent, first, leaves = set(model.state_dict()), {}, {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        path, _, leaf = name.rpartition(".")
        tie = first.setdefault(id(tensor), name)
        if isinstance(tensor, nn.Parameter):
            kind = "parameter" if tensor.requires_grad else "frozen"
        elif name not in persistent:
            kind = "table"
        else:
            kind = "statistic" if leaf.startswith("running_") else "buffer"
        dtype = str(tensor.dtype).removeprefix("torch.")
        leaves[name] = Leaf(
            tuple(tensor.shape), dtype, _role(model.get_submodule(path)), kind, None if tie == name else tie
        )
    return leaves


_ROLES = (
    (nn.Linear, "linear"), (nn.Embedding, "embedding"), ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "conv"),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d), "conv_transpose"), (nn.modules.batchnorm._BatchNorm, "batch_norm"),
    ((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), "norm"),
)  # fmt: skip


def _role(module) -> str:
    """What a module is to other frameworks; norms of our own are known by their name."""
    for kinds, role in _ROLES:
        if isinstance(module, kinds):
            return role
    return "norm" if type(module).__name__.endswith(("Norm", "Norm2d")) else ""


def _arguments(model) -> list[str]:
    """The names that ``forward`` takes, in order: a head's own come behind its backbone's."""
    names: list[str] = []
    for part in (getattr(model, "backbone", None), model):
        if part is not None:
            for name, parameter in inspect.signature(part.forward).parameters.items():
                if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in names:
                    names.append(name)
    return [name for name in names if name != "lengths"]


def values(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the parameters and buffers by name, of tied ones the first, as numpy arrays in PyTorch's layout."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: to_numpy(tensor) for name, tensor in named}


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy of a tensor's values; bf16 becomes the type that ml_dtypes adds to numpy."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()
