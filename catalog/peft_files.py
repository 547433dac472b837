"""The files in which peft keeps low-rank adapters: ``adapter_config.json`` and ``adapter_model.safetensors``.

Written and read without that library. Layers stand there under the names of the published model; ``lora_A`` is [rank, in]
and ``lora_B`` [out, rank] of what is published, which may be several of our layers in one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from catalog import registry
from catalog.checkpoints.writers import write_file, write_text
from catalog.errors import LoadError, SaveError
from catalog.layers.lora import Adapted
from catalog.layers.quantised import QuantisedLinear
from catalog.namemap import Step
from catalog.ops import PerGroup, Split, Transpose

CONFIG, WEIGHTS, PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."
TASKS = {
    "sequence-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
    "causal-lm": "CAUSAL_LM",
    "seq2seq-lm": "SEQ_2_SEQ_LM",
}
REFUSED = {
    "use_dora": "weight-decomposed adapters (DoRA)",
    "lora_bias": "adapters with a bias",
    "layer_replication": "copied layers",
}


class Found(NamedTuple):
    """What a folder holds: (a [rank, in], b [out, rank], alpha) by path of our layer, and whole weights by our name."""

    adapters: dict[str, tuple[Tensor, Tensor, float]]
    whole: dict[str, Tensor]
    dropout: float


def write(model, layers: Mapping[str, Adapted], whole: Iterable[str], folder: Path, base: str | None) -> Path:
    """Write both files. Raises SaveError for a layer that peft's format has no place for."""
    steps, tensors, ranks, alphas, turned = _steps(model), {}, {}, {}, set()
    for place, step in steps.items():
        if any(name.endswith(".weight") and _path(name) in layers for name in step.ours):
            a, b, alpha = _joined(model, layers, step)
            place = place.removesuffix(".weight")
            tensors[f"{PREFIX}{place}.lora_A.weight"], tensors[f"{PREFIX}{place}.lora_B.weight"] = a, b
            ranks[place], alphas[place] = a.shape[0], alpha
            turned.add(_turns(step.op))
    state, kept = model.state_dict(), set()
    for place, step in steps.items():
        if set(step.ours) <= set(whole):
            values = [state[name] for name in step.ours]
            values = values if step.op is None else step.op.save(values, model.config)
            tensors[f"{PREFIX}{place}"] = values[step.published.index(place)]
            kept.add(_path(place))
    rank, alpha = _usual(ranks), _usual(alphas)
    settings = {
        "peft_type": "LORA",
        "task_type": TASKS.get(model.head),
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": next(iter(layers.values())).dropout,
        "target_modules": _short(model, steps, ranks),
        "modules_to_save": sorted(kept) or None,
        "rank_pattern": {place: n for place, n in ranks.items() if n != rank},
        "alpha_pattern": {place: n for place, n in alphas.items() if n != alpha},
        "bias": "none",
        "fan_in_fan_out": True in turned,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{folder}: cannot be made ({error.strerror})") from None
    write_file(folder / WEIGHTS, tensors)
    write_text(folder / CONFIG, json.dumps(settings, indent=2, sort_keys=True))
    return folder


def read(model, folder: Path) -> Found:
    """What ``folder`` holds for ``model``. Raises LoadError listing all that does not fit."""
    settings, tensors = _files(folder)
    steps, found, whole, problems = _steps(model), {}, {}, []
    for key in sorted(tensors):
        if key.endswith(".lora_A.weight"):
            place = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            b, step = tensors.get(f"{PREFIX}{place}.lora_B.weight"), steps.get(f"{place}.weight")
            if b is None or step is None:
                problems.append(f"{key}: {'no lora_B beside it' if b is None else 'the model has no such layer'}")
                continue
            found |= _parted(model, step, tensors[key], b, _scale(settings, place, tensors[key].shape[0]))
        elif not key.endswith(".lora_B.weight"):
            step = steps.get(key.removeprefix(PREFIX))
            if step is None or step.op is not None:
                problems.append(f"{key}: the model has no such weight")
            else:
                whole[step.ours[0]] = tensors[key]
    for path, (a, b, _) in found.items():
        layer = model.get_submodule(path)
        if not isinstance(layer, nn.Linear) or (b.shape[0], a.shape[1]) != (layer.out_features, layer.in_features):
            problems.append(f"{path}: an adapter of {b.shape[0]} x {a.shape[1]}, the layer is {layer}")
    state = model.state_dict()
    problems += [
        f"{n}: file {list(t.shape)}, model {list(state[n].shape)}"
        for n, t in whole.items()
        if t.shape != state[n].shape
    ]
    if problems or not found:
        listed = "\n  ".join(problems or ["no adapter of any layer"])
        raise LoadError(f"{folder / WEIGHTS} is not of {model.name} with {model.head}:\n  {listed}\nNothing was loaded")
    return Found(found, whole, float(settings.get("lora_dropout", 0.0)))


def _files(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise LoadError(
            f"{folder}: no whole adapter in peft's format ({error}); it has {CONFIG} and {WEIGHTS}"
        ) from None
    if settings.get("peft_type") != "LORA":
        raise LoadError(
            f"{folder / CONFIG}: peft_type {settings.get('peft_type')}; low-rank adapters, LORA, are understood"
        )
    for key, what in REFUSED.items():
        if settings.get(key):
            raise LoadError(f"{folder / CONFIG}: {key} is set; {what} are not understood")
    return settings, tensors


def _steps(model) -> dict[str, Step]:
    """Every published tensor of ``model`` with the conversion it takes part in; a quantised weight stands for itself."""
    state = [name for name in model.state_dict() if not name.endswith((".lora_a", ".lora_b", ".scales"))]
    names = {f"{_path(name)}.weight" if name.endswith(".codes") else name for name in state}
    found = registry.names_of_model(model).steps(sorted(names), published=False)
    return {published: step for step in found for published in step.published}


def _joined(model, layers: Mapping[str, Adapted], step: Step) -> tuple[Tensor, Tensor, float]:
    """One adapter (a, b, alpha) for what is published, from those of its parts: their products side by side."""
    if len(step.published) > 1 or not isinstance(step.op, Transpose | Split | PerGroup | None):
        raise SaveError(
            f"{', '.join(step.ours)}: published through {step.op}, which an adapter in peft's format cannot follow"
        )
    paths = [_path(name) for name in step.ours]
    sizes = {path: model.get_submodule(path).out_features for path in paths}
    inside = [path for path in paths if path in layers]
    wide = []
    for path in inside:
        b = layers[path].lora_b.detach()
        parts = [b if other == path else b.new_zeros(sizes[other], b.shape[1]) for other in paths]
        (whole,) = parts if step.op is None else step.op.save(parts, model.config)
        wide.append(whole.t() if _turns(step.op) else whole)
    a = torch.cat([layers[path].lora_a.detach() for path in inside])
    return a.contiguous(), torch.cat(wide, 1).contiguous(), sum(layers[path].alpha for path in inside)


def _parted(model, step: Step, a: Tensor, b: Tensor, scale: float) -> dict[str, tuple[Tensor, Tensor, float]]:
    """The adapters of our layers in one of what is published; a part that it does nothing to has none."""
    if len(step.ours) == 1:
        return {_path(step.ours[0]): (a, b, scale * a.shape[0])}
    found = {}
    for name, rows in zip(step.ours, step.op.load([b.t() if _turns(step.op) else b], model.config)):
        # columns of a neighbour's adapter are zero here; where all are, nothing was learnt yet, of any part
        used = rows.abs().sum(0) > 0 if b.any() else rows.new_ones(rows.shape[1], dtype=torch.bool)
        if used.any():
            found[_path(name)] = (a[used], rows[:, used], scale * int(used.sum()))
    return found


def _scale(settings: Mapping, place: str, rank: int) -> float:
    patterns = settings.get("alpha_pattern") or {}
    alpha = next((n for key, n in patterns.items() if re.fullmatch(rf"(.*\.)?{key}", place)), settings["lora_alpha"])
    return alpha / rank**0.5 if settings.get("use_rslora") else alpha / rank


def _short(model, steps: Mapping[str, Step], adapted: Mapping[str, int]) -> list[str]:
    """The last words of the adapted layers where these name no other, else their whole names."""
    modules = dict(model.named_modules())
    linear = {_path(p) for p, s in steps.items() if isinstance(modules[_path(s.ours[0])], nn.Linear | QuantisedLinear)}
    words = {place.rpartition(".")[2] for place in adapted}
    named = {place for place in linear if place.rpartition(".")[2] in words}
    return sorted(words if named == set(adapted) else adapted)


def _path(name: str) -> str:
    return name.rpartition(".")[0]


def _turns(op) -> bool:
    """Whether matrices are published as [in, out]."""
    return isinstance(op, Transpose) or (isinstance(op, Split) and op.transpose)


def _usual(values: Mapping[str, float]) -> float:
    found = list(values.values())
    return max(found, key=found.count)
