"""Ports and files: loading, saving and converting weights of every framework, strict as PyTorch's own loading.

A folder that a port was saved to holds ``port.json`` beside the weights: it is then loaded, and runs what it ran before,
without PyTorch. Any other folder is read through the model's page.
"""

import json
import shutil
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from catalog.checkpoints import layout
from catalog.checkpoints.computed import computed
from catalog.errors import LoadError, MissingExtra, SaveError
from catalog.ports.blueprint import FILE, Blueprint
from catalog.ports.files import replace

FRAMEWORKS = ("torch", "flax", "tf")
_FACES = {"flax": "catalog.ports.flax", "tf": "catalog.ports.keras"}
_PACKAGES = {"flax": ("jax", "flax"), "tf": ("tensorflow", "keras")}
_FILES = {"flax": "catalog.checkpoints.msgpack", "tf": "catalog.checkpoints.h5"}  # NAME, read and write of each
_NAMES = {"flax": "catalog.checkpoints.flax_names", "tf": "catalog.checkpoints.tf_names"}  # paths of each


def require(framework: str) -> None:
    """Raise LoadError for a framework that there is not, MissingExtra for one that is not installed."""
    if framework not in FRAMEWORKS:
        raise LoadError(f"no framework '{framework}'; there are {', '.join(FRAMEWORKS)}")
    missing = [name for name in _PACKAGES.get(framework, ()) if find_spec(name) is None]
    if missing:
        raise MissingExtra(f'framework "{framework}" needs {" and ".join(missing)}: pip install "trivium[{framework}]"')


def load(source, head, framework: str, *, dtype=None, new=(), revision=None):
    """The model of a checkpoint as a port; see :func:`catalog.load`."""
    require(framework)
    folder = Path(source)
    weights = folder / import_module(_FILES[framework]).NAME
    if (folder / FILE).is_file() and weights.is_file() and not new:
        blueprint = Blueprint.load(folder)
        if head is None or head == (blueprint.head or "backbone"):
            values = _cast(blueprint, _read(blueprint, weights, framework), dtype)
            return import_module(_FACES[framework]).Port(blueprint, values)
    if find_spec("torch") is None:
        raise MissingExtra(
            f'{source}: without {FILE} a port is made from the model\'s page, which needs PyTorch: pip install "trivium"'
        )
    from catalog import loading
    from catalog.ports import export

    model = loading.load(source, head, dtype=_torch_type(dtype), new=new, revision=revision, prefer=weights.name)
    return import_module(_FACES[framework]).Port(export.blueprint(model), export.values(model))


def _torch_type(dtype):
    if dtype is None or not isinstance(dtype, str):
        return dtype
    import torch

    return getattr(torch, dtype)


def _cast(blueprint, values, dtype):
    if dtype is None:
        return values
    kind = _numpy_type(str(dtype).removeprefix("torch."))
    return {
        name: array.astype(kind)
        if blueprint.leaves[name].kind in ("parameter", "frozen") and array.dtype.kind in "fV"
        else array
        for name, array in values.items()
    }


def _numpy_type(name):
    if name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return np.dtype(name)


def save(model, folder: str | Path, framework: str | None = None, *, processor=None) -> Path:
    """Write a port, or a PyTorch model, as ``framework`` (a port's own unless named) has it; see :func:`catalog.save`.

    A port in its own framework comes with ``port.json``, so that it can be loaded and run without PyTorch.
    """
    own = getattr(model, "framework", "torch")
    folder, framework = Path(folder), framework or own
    require(framework)
    if own == "torch":
        from catalog.ports import export

        blueprint, values = export.blueprint(model), export.values(model)
    else:
        blueprint, values = model.blueprint, model.values()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{folder}: cannot be made ({error.strerror})") from None
    tensors, roles = published(blueprint, values), _roles(blueprint)
    if framework != "torch":
        tensors |= computed(blueprint.model, blueprint.config, tensors)
    write(folder, tensors, roles, blueprint.model, _class(blueprint), framework)
    dtype = next(array.dtype.name for array in tensors.values() if array.dtype.kind in "fV")
    text = json.dumps({**blueprint.config, "torch_dtype": dtype}, indent=2, sort_keys=True) + "\n"
    replace(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))
    if framework == own:
        blueprint.save(folder)
    if processor is not None:
        processor.save(folder)
    return folder


def write(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    roles: Mapping[str, str],
    model: str,
    architecture: str,
    framework: str,
) -> None:
    """Write published tensors, given in PyTorch's names and layout, as ``framework`` has them."""
    if framework == "torch":
        import torch

        from catalog.checkpoints.writers import write_safetensors

        write_safetensors(folder, ((name, _tensor(torch, array)) for name, array in tensors.items()))
        return
    shapes = {name: array.shape for name, array in tensors.items()}
    roles = dict.fromkeys(shapes, "embedding") | roles  # what no module holds is computed: a table
    arrays = {
        path: layout.turned(tensors[name], axes)
        for name, (path, axes) in import_module(_NAMES[framework]).paths(shapes, roles, model, architecture).items()
    }
    file = import_module(_FILES[framework])
    file.write(folder / file.NAME, arrays)


def _tensor(torch, array):
    array = np.array(array, order="C")
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _roles(blueprint):
    return {name: blueprint.leaves[step.ours[0]].role for step in blueprint.published for name in step.published}


def _class(blueprint):
    return blueprint.config["architectures"][0]


def published(blueprint: Blueprint, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our tensors under their published PyTorch names. Needs PyTorch where one is more than a rename."""
    found = {}
    for step in blueprint.published:
        if step.plain:
            found[step.published[0]] = values[step.ours[0]]
        else:
            op, config, torch = _op(blueprint, step.ours, False)
            saved = op.save([_tensor(torch, values[name]) for name in step.ours], config)
            found |= {name: _array(tensor) for name, tensor in zip(step.published, saved)}
    return found


def _ours(blueprint: Blueprint, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Published tensors as ours; the inverse of :func:`published`."""
    found = {}
    for step in blueprint.published:
        if step.plain:
            found[step.ours[0]] = tensors[step.published[0]]
        else:
            op, config, torch = _op(blueprint, step.published, True)
            loaded = op.load([_tensor(torch, tensors[name]) for name in step.published], config)
            found |= {name: _array(tensor) for name, tensor in zip(step.ours, loaded)}
    return found


def _array(tensor):
    from catalog.ports.export import to_numpy

    return to_numpy(tensor)


def _op(blueprint, names, is_published):
    """The conversion that these names take part in, from the model's page."""
    if find_spec("torch") is None:
        raise MissingExtra(
            f"{blueprint.title} joins or parts tensors on its way to or from a file ({names[0]}), which needs PyTorch: "
            'pip install "trivium"'
        )
    import torch

    from catalog import building, registry

    name, head, config = building.from_published(blueprint.config)
    step = next(iter(registry.names_of(name, head, config).steps(names, published=is_published)))
    return step.op, config, torch


def _read(blueprint: Blueprint, path: Path, framework: str) -> dict[str, np.ndarray]:
    """Our tensors from a weight file. Raises LoadError listing every missing, unexpected and misshapen one."""
    arrays = import_module(_FILES[framework]).read(path)
    shapes = {name: tuple(s) for step in blueprint.published for name, s in zip(step.published, step.shapes)}
    tables = computed(blueprint.model, blueprint.config, shapes)
    roles = _roles(blueprint) | dict.fromkeys(tables, "embedding")
    shapes |= {name: table.shape for name, table in tables.items()}
    places = import_module(_NAMES[framework]).paths(shapes, roles, blueprint.model, _class(blueprint))
    problems, known, tensors = [], set(), {}
    for name, (place, axes) in places.items():
        known.add(place)
        wanted = layout.shape(shapes[name], axes)
        if place not in arrays:
            problems.append(f"missing     {place}  {list(wanted)}")
        elif arrays[place].shape != wanted:
            problems.append(f"shape       {place}  file {list(arrays[place].shape)}, model {list(wanted)}")
        else:
            tensors[name] = layout.returned(arrays[place], axes)
    problems += [f"unexpected  {name}  {list(array.shape)}" for name, array in arrays.items() if name not in known]
    if problems:
        raise LoadError(
            f"{blueprint.title} <- {path}: {len(problems)} problem{'s' * (len(problems) > 1)}\n  "
            + "\n  ".join(problems)
            + "\nNothing was loaded."
        )
    for name in shapes.keys() - places.keys():  # counters of batches, which no file has
        tensors[name] = np.zeros(shapes[name], np.int64)
    return _ours(blueprint, tensors)


def convert(source: str | Path, folder: str | Path, framework: str) -> str:
    """Write the weights in ``source``, of any framework, as ``framework`` has them; says in a line what was written.

    A rename and a turn of axes, tensor by tensor: no model is built. Files that hold no weights are copied. Raises LoadError
    listing every tensor that does not fit the architecture.
    """
    require(framework)
    if find_spec("torch") is None:
        raise MissingExtra(
            'names and shapes are checked against the model\'s page, which needs PyTorch: pip install "trivium"'
        )
    from catalog import building, loading, registry
    from catalog.checkpoints.plan import plan, ties
    from catalog.checkpoints.readers import open_folder
    from catalog.ports import export

    source, folder = loading.local_folder(source), Path(folder)
    name, head, config = building.read_config(source)
    model = building.skeleton(name, config, head)
    reader = open_folder(source)
    made, copies, roles = plan(model, reader, config), ties(model), export.roles(model)
    steps = [step for step in made.steps if not all(n in copies and copies[n] in _given(made) for n in step.ours)]
    tensors = {n: _array(reader.read(made.files[n])) for step in steps for n in step.published}
    folder.mkdir(parents=True, exist_ok=True)
    if framework != "torch":
        tensors |= computed(name, json.loads((source / "config.json").read_text(encoding="utf-8")), tensors)
    write(folder, tensors, roles, name, registry.published_class(name, head), framework)
    if folder.resolve() != source.resolve():
        for path in source.iterdir():
            if path.suffix in _COPIED and not path.name.endswith(".index.json") and path.name != FILE:
                shutil.copyfile(path, folder / path.name)
    left = f", {len(made.left)} of other heads left behind" if made.left else ""
    return (
        f"{len(tensors)} tensors of {name}{f' with {head}' if head else ''} written to {folder} for {framework}{left}"
    )


_COPIED = (".json", ".txt", ".model", ".tiktoken")


def _given(made):
    return {name for step in made.steps for name in step.ours}
