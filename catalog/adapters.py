"""Low-rank adapters on any model, by our names of its layers: added, merged, written and read in peft's format.

``adapter_config.json`` and ``adapter_model.safetensors`` name layers as the model is published, so adapters trained here work
with the published model elsewhere, and the other way round.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from catalog import peft_files
from catalog.errors import ConfigError, SaveError
from catalog.heads.base import Head, VocabHead
from catalog.layers.lora import Adapted, LoRALinear, LoRAQuantised, dense
from catalog.layers.quantised import FORMS, QuantisedLinear
from catalog.namemap import Template
from catalog.placement import blocks


def add(
    model: nn.Module, targets: Sequence[str] = ("attn.{q,v}",), *, rank: int = 8, alpha: float = 16.0,
    dropout: float = 0.0, base: str = "as_is", also: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """Adapt every linear layer whose path ends in one of ``targets``, freeze the rest, and return the adapted paths.

    targets  in our words, ``*`` is one of them: ``attn.{q,v}``, ``mlp.*``, ``layers.0.attn.out``
    base     ``as_is``; ``int8`` or ``nf4``: linear layers inside of blocks hold their frozen weights in so few bits
    also     patterns of weights that learn as a whole beside the adapters (``backbone.pool.*``); a head's own always do,
             unless it scores a vocabulary

    Raises ConfigError where nothing matches, or a model is adapted already.
    """
    if adapted(model):
        raise ConfigError("the model has adapters already; merge them first: catalog.adapters.merge(model)")
    linear = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [path for path in linear if any(_ends(path, target) for target in targets)]
    for target in targets:
        if not any(_ends(path, target) for path in found):
            kinds = sorted({re.sub(r"(^|.*\.)\d+\.", "", path) for path in linear})
            raise ConfigError(f"no linear layer of {model.name} ends in '{target}'; there are {', '.join(kinds)}")
    if base not in ("as_is", *FORMS):
        raise ConfigError(f"base='{base}': as_is, {' or '.join(FORMS)}")
    whole = [] if base == "as_is" else [p for p in linear if any(p.startswith(f"{block}.") for block in blocks(model))]
    learning = _learning(model, also)
    model.requires_grad_(False)
    for path in dict.fromkeys([*found, *whole]):
        _place(model, path, _changed(linear[path], path in found, path in whole, base, rank, alpha, dropout))
    for name in learning:
        model.get_parameter(name).requires_grad_(True)
    return found


def adapted(model: nn.Module) -> dict[str, Adapted]:
    """The adapted layers by path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, Adapted)}


def merge(model: nn.Module) -> nn.Module:
    """Add every adapter to its weight: the model computes the same without them, and all of it can be trained again.

    Quantised layers become linear ones in fp32, of the values that their few bits say.
    """
    for path, module in list(model.named_modules()):
        if isinstance(module, Adapted):
            _place(model, path, module.merged())
        elif isinstance(module, QuantisedLinear):
            _place(model, path, dense(module))
    return model.requires_grad_(True)


def save(model: nn.Module, folder: str | Path, *, base: str | None = None) -> Path:
    """Write the adapters, and the weights that learnt as a whole, in peft's format; ``base`` says which model they are for.

    A matrix that is published fused (GPT-2's c_attn) gets one adapter that holds those of its parts side by side, so its
    rank is the sum of theirs. Returns the folder. Raises SaveError.
    """
    layers = adapted(model)
    if not layers:
        raise SaveError("the model has no adapters to save; the whole of it: catalog.save(model, folder)")
    own = {f"{path}.{leaf}" for path in layers for leaf in ("lora_a", "lora_b")}
    whole = [name for name, p in model.named_parameters() if p.requires_grad and name not in own]
    return peft_files.write(model, layers, whole, Path(folder), base)


def load(model: nn.Module, folder: str | Path) -> nn.Module:
    """Add to ``model`` the adapters in a folder of peft's format, and take the weights that learnt as a whole from it.

    The base stays as it is and is frozen. Raises LoadError naming every tensor that does not fit, before anything is changed.
    """
    if adapted(model):
        raise ConfigError("the model has adapters already; merge them first: catalog.adapters.merge(model)")
    found = peft_files.read(model, Path(folder))
    model.requires_grad_(False)
    for path, (a, b, alpha) in found.adapters.items():
        layer = LoRALinear(model.get_submodule(path), a.shape[0], alpha, found.dropout)
        layer.lora_a.data.copy_(a)
        layer.lora_b.data.copy_(b)
        _place(model, path, layer)
    for name, tensor in found.whole.items():
        model.get_parameter(name).data.copy_(tensor)
        model.get_parameter(name).requires_grad_(True)
    return model


def _ends(path: str, target: str) -> bool:
    return re.fullmatch(rf"(.*\.)?{Template(target).pattern.pattern}", path) is not None


def _learning(model: nn.Module, also: Sequence[str]) -> list[str]:
    """Names of the weights that learn as a whole."""
    names = [name for name, _ in model.named_parameters()]
    for pattern in also:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                f"no weight of {model.name} is called '{pattern}'; they are called as {', '.join(names[:3])}"
            )
    own = isinstance(model, Head) and not isinstance(model, VocabHead)
    return [
        name
        for name in names
        if (own and not name.startswith("backbone.")) or any(fnmatchcase(name, pattern) for pattern in also)
    ]


def _changed(layer, adapt, quantise, base, rank, alpha, dropout) -> nn.Module:
    if not quantise:
        return LoRALinear(layer, rank, alpha, dropout)
    return LoRAQuantised(layer, base, rank, alpha, dropout) if adapt else QuantisedLinear(layer, base)


def _place(model: nn.Module, path: str, layer: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    layer.train(model.training)
    setattr(model.get_submodule(owner), name, layer)
