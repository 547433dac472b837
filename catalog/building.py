"""Fresh models and configurations."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog import cards, registry
from catalog.configs import Config, changed
from catalog.errors import ConfigError


def config(name: str, **ours: Any) -> Config:
    """The configuration of a model or a published size (``"bert-large-uncased"``), changed by fields in our words
    (``depth=4``).

    Raises UnknownModel, UnknownField or ConfigError, each naming what would do.
    """
    return changed(_default(name)[1], ours)


def _default(name: str) -> tuple[str, Config]:
    """(model, configuration) of a model's or a published size's name."""
    if name not in registry.MODELS:
        size = cards.presets().get(name)
        if size is None:
            raise cards.unknown(name)
        name, _, config = from_published(size.published(), name)
        return name, config
    return name, registry.config_class(name)()


def read_config(path: str | Path) -> tuple[str, str | None, Config]:
    """(model, head, configuration) from a published ``config.json`` or the folder that holds one.

    The head follows from ``architectures``; without it, it is ``None``. Raises ConfigError naming file and key.
    """
    path = Path(path)
    path = path / "config.json" if path.is_dir() else path
    try:
        published = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; a model folder holds config.json and its weights") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    return from_published(published, str(path))


def from_published(published: Mapping[str, Any], where: str = "config.json") -> tuple[str, str | None, Config]:
    """As :func:`read_config`, from the published table itself."""
    if not isinstance(published, Mapping) or "model_type" not in published:
        raise ConfigError(f"{where}: no 'model_type'; it names the architecture, one of {', '.join(registry.names())}")
    name, head = published["model_type"], None
    registry.require(name)
    if published.get("architectures"):
        name, head = registry.resolve(published["architectures"][0])
        if registry.MODELS[name] != registry.MODELS[published["model_type"]]:
            raise ConfigError(
                f"{where}: model_type is '{published['model_type']}', but architectures has {published['architectures'][0]}, "
                f"which is '{name}'; one of the two is wrong"
            )
    if published.get("quantization_config"):
        method = dict(published["quantization_config"]).get("quant_method", "unnamed")
        raise ConfigError(
            f"{where}: quantization_config: the weights are quantised (method '{method}'), which the catalog does not read. "
            "Take the repository that they were made from"
        )
    return name, head, registry.page(name).CONFIG.read(published, registry.config_class(name), where)


def build(
    name: str,
    config: Config | None = None,
    *,
    head: str | None = None,
    device=None,
    dtype=None,
    seed: int | None = None,
):
    """A freshly initialised model: the backbone, or with ``head`` a task over it.

    ``name`` is a model or a published size (``"bert-large-uncased"``), whose configuration ``config`` replaces; ``device`` may
    be ``"meta"`` (no memory, no values). With ``seed`` the weights do not depend on what was drawn before. Raises
    UnknownModel or ConfigError.
    """
    import torch

    from catalog.layers.init import initialise

    name, default = _default(name)
    config = default if config is None else config
    model = skeleton(name, config, head)
    if torch.device(device or "cpu").type == "meta":
        return model if dtype is None else model.to(dtype)
    materialise(model, device, dtype)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        initialise(model, config.init_std)
    return model


def skeleton(name: str, config: Config, head: str | None):
    """The model on the meta device: every module and name, no memory."""
    import torch

    registry.published_class(name, head)
    kind, page = registry.model_class(name), registry.page(name)
    if not isinstance(config, kind.config_class):
        raise ConfigError(f"{name} takes a {kind.config_class.__name__}, not a {type(config).__name__}")
    with torch.device("meta"), _undrawn():
        if head is None:
            model = kind(config)
        else:
            spec = page.HEADS[head]
            model = spec.build(kind(config, **spec.backbone), config)
    model.name, model.head = name, head
    return model


def _undrawn():
    """Within the block no normal numbers are drawn: for meta tensors PyTorch would import its compiler first (80 MB)."""
    from torch import nn
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            return kwargs["tensor"] if function is nn.init.normal_ else function(*args, **kwargs)

    return Undrawn()


def materialise(model, device, dtype, only: set[str] | None = None) -> None:
    """Give a meta model memory on ``device``; tied parameters stay one tensor, derived tables are computed anew.

    ``only``: full names of the parameters and buffers that get memory; ``None`` is all.
    """
    import torch

    device = torch.device(device or "cpu")
    made: dict[int, torch.nn.Parameter] = {}
    for path, module in model.named_modules():
        wanted = [
            n for n in (*module._parameters, *module._buffers) if only is None or f"{path}.{n}".lstrip(".") in only
        ]
        for name, parameter in module._parameters.items():
            if name in wanted and parameter is not None and parameter.is_meta:
                if id(parameter) not in made:
                    kind = dtype if dtype is not None and parameter.is_floating_point() else parameter.dtype
                    empty = torch.empty_like(parameter, device=device, dtype=kind)
                    made[id(parameter)] = torch.nn.Parameter(empty, requires_grad=parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if name in wanted and buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.zeros_like(buffer, device=device)
    derive(model)


def derive(model) -> None:
    """Compute the derived tables of every module that has some (``derive()``, in fp32, from the configuration)."""
    for module in model.modules():
        if hasattr(module, "derive"):
            module.derive()
