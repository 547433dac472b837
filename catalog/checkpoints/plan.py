"""Which published tensor becomes which of ours: decided, and every problem found, before anything is read."""

from dataclasses import dataclass, field
from fnmatch import fnmatch

import torch
from torch import nn

from catalog import registry
from catalog.checkpoints.readers import Reader
from catalog.errors import LoadError
from catalog.namemap import NameMap, Step


@dataclass
class Plan:
    """What loading will do. ``left`` are published tensors that this head has no use for, ``fresh`` ours that start anew."""

    steps: list[Step] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # today's published name -> the file's own
    copies: list[tuple[str, str]] = field(default_factory=list)  # pairs of our names that must hold the same values
    tied: dict[str, str] = field(default_factory=dict)  # published copy -> our name
    left: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)


def ties(model: nn.Module) -> dict[str, str]:
    """Every further name of a shared parameter -> its first name."""
    first, shared = {}, {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            shared[name] = first[id(parameter)]
        else:
            first[id(parameter)] = name
    return shared


def plan(model, reader: Reader, config, new: tuple[str, ...] = ()) -> Plan:
    """How ``reader``'s tensors become the parameters of ``model`` (on the meta device).

    ``new``: patterns of our names that may be absent. Raises LoadError listing every missing, unexpected and misshapen
    tensor at once.
    """
    mapping = registry.names_of_model(model)
    made, problems = Plan(), []
    shapes = {}
    known, others = _spelling(model, mapping)
    for name, shape in reader.shapes().items():
        current = known(name)
        if current is None:
            if others(name):
                made.left.append(name)
            else:
                problems.append(f"unexpected  {name}  {list(shape)}: no tensor of any {model.name} model")
        elif mapping.dropped(current):
            continue
        elif current in mapping.tied:
            made.files[current] = name
            made.tied[current] = mapping.tied[current]
        else:
            made.files[current], shapes[current] = name, shape
    _fit(model, mapping, shapes, config, made, problems)
    _missing(model, mapping, new, made, problems)
    if problems:
        read = len(made.files)
        raise LoadError(
            f"{_title(model)} <- {reader.path}: {read} tensors recognised, "
            f"{len(problems)} problem{'s' * (len(problems) > 1)}\n  "
            + "\n  ".join(problems)
            + "\nNothing was loaded."
            + (' To train a new head on this backbone: load(..., new=["out.*"])' if model.head else "")
        )
    return made


def _title(model):
    return model.name if model.head is None else f"{model.name} with {model.head}"


def _spelling(model, mapping: NameMap):
    """Two questions of a file's name: its current spelling under this map, and whether another head of the page has it."""
    body = registry.names_of(model.name, None, model.config)
    spec = registry.page(model.name).HEADS[model.head] if model.head else None
    prefix = body.prefix if spec is None or spec.prefix is None else spec.prefix

    def known(name):
        name = mapping.current(name)
        if mapping.knows(name):
            return name
        if prefix and model.head and mapping.knows(prefix + name):
            return prefix + name  # a file of the bare backbone
        bare = name.removeprefix(body.prefix)
        return bare if model.head is None and mapping.knows(bare) else None

    rest = [registry.names_of(model.name, head, model.config) for head in registry.heads(model.name)] + [body]
    return known, lambda name: any(m.knows(m.current(name)) for m in rest)


def _fit(model, mapping, shapes, config, made, problems):
    """Conversions whose results have the model's shapes; ops are tried on tensors without memory."""
    state = model.state_dict(keep_vars=True)
    for step in mapping.steps(shapes, published=True):
        if not any(name in state for name in step.ours):
            made.left += [made.files.pop(name) for name in step.published]
            continue
        outcome = [torch.empty(shapes[name], device="meta") for name in step.published]
        if step.op is not None:
            try:
                outcome = step.op.load(outcome, config)
            except (RuntimeError, ValueError) as error:
                given = ", ".join(f"{made.files[n]} {list(shapes[n])}" for n in step.published)
                problems.append(f"shape       {given} does not part into {', '.join(step.ours)} ({error})")
                made.steps.append(step)
                continue
        for name, tensor in zip(step.ours, outcome):
            if name in state and tensor.shape != state[name].shape:
                file = ", ".join(made.files[n] for n in step.published)
                problems.append(
                    f"shape       {name}  file {list(tensor.shape)} ({file}), model {list(state[name].shape)}"
                )
        made.steps.append(step)


def _missing(model, mapping, new, made, problems):
    given = {name for step in made.steps for name in step.ours}
    shared = ties(model)
    for copy, first in shared.items():
        if copy in given and first in given:
            made.copies.append((first, copy))
    groups = {}
    for name in model.state_dict():
        groups.setdefault(shared.get(name, name), []).append(name)
    for members in groups.values():
        if any(name in given for name in members):
            continue
        if any(fnmatch(name, pattern) for name in members for pattern in new):
            made.fresh += members
            continue
        copies = [alias for alias, ours in made.tied.items() if ours in members]
        if copies:  # the file holds only a copy under another name
            made.steps.append(Step((made.tied.pop(copies[0]),), (copies[0],)))
            continue
        name = members[0]
        expected = ", ".join(next(iter(mapping.steps([name], published=False))).published)
        problems.append(f"missing     {name}  expected as {expected} {list(model.state_dict()[name].shape)}")
