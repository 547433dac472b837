"""Writing a model as a file for deployment: made aside, run at other sizes against the model, then put in its place."""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, ConfigError, MissingExtra, PortError, SaveError, did_you_mean

# format -> the module that writes and opens it, what that needs, the extra that brings it, and the framework it is written from
_FORMATS = {
    "onnx": ("catalog.exporting.onnx", ("onnx", "onnxscript", "onnxruntime"), "export", "torch"),
    "torchscript": ("catalog.exporting.torchscript", (), "", "torch"),
    "savedmodel": ("catalog.exporting.savedmodel", ("tensorflow", "keras"), "tf", "tf"),
    "stablehlo": ("catalog.exporting.stablehlo", ("jax", "flax"), "flax", "flax"),
}
FORMATS = tuple(_FORMATS)
_TOLERANCE = {"float32": 1e-4}  # of an output's largest value; half precision has fewer digits to agree in
_HALF = 3e-2
_LABELLED = ("classification", "detection", "segmentation")


def export(
    model, path: str | Path, format: str = "onnx", *, head: str | None = None, dtype=None,
    inputs: Mapping[str, Any] | None = None, image: tuple[int, int] | None = None,
) -> Path:  # fmt: skip
    """Write ``model`` as ``path``, which runs without the catalog; returns the path.

    model   a model, or a folder in the published layout or a hub id (``head`` and ``dtype`` are then those of ``catalog.load``)
    format  ``"onnx"``, ``"torchscript"`` or ``"stablehlo"``, a file each, or ``"savedmodel"``, a folder
    inputs  one call by published names, arrays or tensors; it decides which inputs the file has, their types, and the sizes
            that are fixed (those of images, the number of choices). Batch and lengths stay open. ``None``: what a
            processor gives
    image   (height, width) of those images, the configured size (224 where a model takes any) unless given

    Before it gets its name the file is run at two further batches and lengths, and compared with the model: to 1e-4 of
    each output's largest value. ``path.json`` (in a SavedModel: ``assets.extra/export.json``) names its inputs, outputs and
    labels. What stood at ``path`` is replaced at the end; a folder that is no SavedModel is not.

    Raises ConfigError, MissingExtra naming what to install, PortError naming model, module and op where a format cannot
    hold the model, SaveError where the disk refuses.
    """
    path = Path(path)
    home, framework = _home(format), _FORMATS[format][3]
    _check_target(path, format)
    if inputs is not None and image is not None:
        raise ConfigError("inputs and image both say how large images are; give one of them")
    if isinstance(model, (str, Path)):
        from catalog.frameworks import load

        model = load(model, head, dtype=dtype)
    elif head is not None or dtype is not None:
        raise ConfigError("head and dtype are for a folder; a model has its own")
    page = _page(model, format, framework)
    from catalog.exporting.sample import example, sample

    taken = sample(page, example(page, image) if inputs is None else inputs)
    calls = _calls(model, taken)
    facts = _facts(page, format, taken, calls)
    writer, aside = import_module(home), path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.mkdir(parents=True)
        writer.write(model, taken, aside / path.name, facts)
        facts["difference"] = _compare(writer.opened(aside / path.name), calls, facts)
        note = path.name + ".json" if format != "savedmodel" else f"{path.name}/assets.extra/export.json"
        (aside / note).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        _publish(aside, path)
    except OSError as error:
        raise SaveError(
            f"{path}: cannot be written ({error.strerror or error}); what stood there is untouched"
        ) from None
    except CatalogError:
        raise
    except Exception as error:
        raise PortError(f"{facts['model']} as {format}: cannot be written ({_words(error)})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return path


def _words(error):
    """The last lines of another library's error, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[-3:])}"


def described(path: str | Path) -> str:
    """Some lines about a file that :func:`export` wrote: what it takes, what it gives, and how close it is."""
    path = Path(path)
    note = path / "assets.extra/export.json" if path.is_dir() else path.with_name(path.name + ".json")
    facts = json.loads(note.read_text(encoding="utf-8"))
    lines = [
        f"{facts['model']}{' with ' + facts['head'] if facts['head'] else ''} written to {path} as {facts['format']}"
    ]
    for kind in ("inputs", "outputs"):
        lines += [
            f"  {kind[:-1]:6}  {one['name']}  {one['dtype']} [{', '.join(map(str, one['shape']))}]"
            for one in facts[kind]
        ]
    return "\n".join([*lines, f"  at two other sizes within {facts['difference']:.1g} of the model's largest values"])


def _home(format):
    """The module of a format, after checking that there is one, and that what it needs is installed."""
    if format not in _FORMATS:
        raise ConfigError(f"no format '{format}'{did_you_mean(str(format), FORMATS)} Formats: {', '.join(FORMATS)}")
    home, packages, extra, _ = _FORMATS[format]
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MissingExtra(f'format "{format}" needs {" and ".join(missing)}: pip install "trivium[{extra}]"')
    return home


def _check_target(path, format):
    if format != "savedmodel" and path.is_dir():
        raise SaveError(f"{path}: is a folder, and {format} is a file; name one in it, as {path / 'model'}.{format}")
    if format == "savedmodel" and path.is_file():
        raise SaveError(f"{path}: is a file, and a SavedModel is a folder; name another, or take the file away")
    if format == "savedmodel" and path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").is_file():
        raise SaveError(f"{path}: holds other files than a SavedModel's, and is not replaced; name another folder")


def _page(model, format, framework):
    """The PyTorch model whose inputs are looked at: the model itself, or the page of a port, without weights."""
    own = getattr(model, "framework", "torch")
    if own == "torch":
        away = {str(t.device) for t in (*model.parameters(), *model.buffers())} - {"cpu"}
        if away:
            raise PortError(
                f"{model.name}: is exported from the CPU, and it is on {', '.join(sorted(away))}: model.cpu()"
            )
        return model
    if own != framework:
        raise PortError(
            f"{model.blueprint.title}: {format} is written from a PyTorch model; save this one with "
            'catalog.save(model, folder, framework="torch") and export the folder'
        )
    from catalog.building import from_published, skeleton

    name, head, config = from_published(model.blueprint.config)
    return skeleton(name, config, head)


def _calls(model, taken):
    """(arrays, the model's answers) of the sample and of two calls with other sizes."""
    calls = [_answers(model, taken, taken.tensors)]
    for number in (0, 1):
        try:
            calls.append(_answers(model, taken, taken.resized(number)))
        except (RuntimeError, ValueError, IndexError, CatalogError):  # longer than the model can read
            calls.append(_answers(model, taken, taken.resized(number, lengths=False)))
    return calls


def _answers(model, taken, tensors):
    import torch

    from catalog.ports import parity
    from catalog.ports.export import to_numpy
    from catalog.ports.request import rebuild

    given, arrays = rebuild(tensors) | taken.flags, {name: to_numpy(t) for name, t in tensors.items()}
    if hasattr(model, "blueprint"):
        return arrays, taken.outputs(parity.face(model).forward(parity.arrays(given)))
    training = model.training
    with torch.no_grad():
        out = taken.outputs(model.eval()(**given))
    model.train(training)
    return arrays, {name: to_numpy(tensor) for name, tensor in out.items()}


def _facts(page, format, taken, calls) -> dict[str, Any]:
    """What a user of the file must know, ready for JSON; sizes of outputs by the names of the inputs' that they follow."""
    from catalog import registry

    labelled = page.head is not None and any(word in page.head for word in _LABELLED)
    sizes = {}
    for path, axes in taken.axes.items():
        for d, axis in enumerate(axes):
            if isinstance(axis, str):
                sizes.setdefault(tuple(arrays[path].shape[d] for arrays, _ in calls), axis)

    def shape(name):
        found = zip(*(answers[name].shape for _, answers in calls))
        return [seen[0] if len(set(seen)) == 1 else sizes.get(seen, "varies") for seen in found]

    first = calls[0][1]
    return {
        "format": format,
        "model": page.name,
        "head": page.head,
        "class": registry.published_class(page.name, page.head),
        "inputs": [
            {"name": path, "dtype": dtype, "shape": list(taken.axes[path])} for path, dtype, _ in taken.request.inputs
        ],
        "outputs": [{"name": name, "dtype": str(first[name].dtype), "shape": shape(name)} for name in first],
        "labels": list(page.config.labels) if labelled else None,
    }


def _compare(run, calls, facts) -> float:
    """The largest difference from the model relative to an output's largest value. Raises PortError beyond tolerance."""
    from catalog.ports.parity import difference

    worst, title = 0.0, f"{facts['model']}{' with ' + facts['head'] if facts['head'] else ''} as {facts['format']}"
    for arrays, wanted in calls:
        sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        try:
            got = run(arrays)
        except Exception as error:
            raise PortError(f"{title}: the file does not run with {sizes} ({_words(error)})") from None
        if got.keys() != wanted.keys():
            raise PortError(f"{title}: outputs are {', '.join(got)}, the model's are {', '.join(wanted)}")
        for name, array in wanted.items():
            found, allowed = difference(got[name], array, name), _TOLERANCE.get(array.dtype.name, _HALF)
            if not found <= allowed:
                raise PortError(
                    f"{title}: output '{name}' is off by {found:.2g} of its largest value with {sizes}; allowed {allowed:g}"
                )
            worst = max(worst, found)
    return worst


def _publish(aside, path):
    """Bring what was written to its names, the model last; files of an export before that are not written now go."""
    if (aside / path.name).is_dir() and path.is_dir():
        path.rename(aside / ".before")
    made = sorted((file for file in aside.iterdir() if file.name != ".before"), key=lambda file: file.name == path.name)
    for file in made:
        os.replace(file, path.with_name(file.name))
    weights = path.with_name(path.name + ".data")
    if weights.is_file() and weights.name not in {file.name for file in made}:
        weights.unlink()
