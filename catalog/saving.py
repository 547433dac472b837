"""Saving in the published layout: the inverse of loading, exactly."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from catalog import registry
from catalog.checkpoints.plan import ties
from catalog.checkpoints.writers import SHARD_BYTES, write_safetensors, write_text
from catalog.errors import SaveError


def save(
    model, folder: str | Path, *, processor=None, shard_bytes: int = SHARD_BYTES,
    weights: Mapping[str, Tensor] | None = None,
) -> Path:  # fmt: skip
    """Write ``config.json``, the weights and, where given, the processor's files; ``catalog.load(folder)`` reads them back.

    Weights are split into shards of at most ``shard_bytes``. ``weights`` has them by our names, a tied one once, where the
    model's own have no values or are not the ones meant; each is asked for when it is written. Nothing is replaced before
    all of it is written. Returns the folder. Raises SaveError (exit code 4) naming the file where the disk refuses.
    """
    folder = _made(folder)
    published = _config(model, next(model.parameters() if weights is None else iter(weights.values())).dtype)
    write_safetensors(folder, published_tensors(model, weights), shard_bytes)
    return _describe(folder, published, processor)


def describe(model, folder: str | Path, processor=None) -> Path:
    """Write ``config.json`` and the processor's files, as :func:`save` does, but no weights."""
    return _describe(_made(folder), _config(model, next(model.parameters()).dtype), processor)


def _made(folder) -> Path:
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def _config(model, dtype) -> dict:
    published = registry.page(model.name).CONFIG.write(
        model.config, model.name, [registry.published_class(model.name, model.head)]
    )
    published["torch_dtype"] = str(dtype).removeprefix("torch.")
    return published


def _describe(folder, published, processor):
    write_text(folder / "config.json", json.dumps(published, indent=2, sort_keys=True))
    if processor is not None:
        processor.save(folder)
    return folder


def published_tensors(model, weights: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every weight of ``model`` under its published name, one rule at a time; of tied tensors only the first.

    ``weights``: these values, by our names, instead of the model's own.
    """
    state, copies = (model.state_dict(), ties(model)) if weights is None else (weights, {})
    if kept := [name for name in state if name.endswith((".lora_a", ".codes"))]:
        raise SaveError(
            f"{len(kept)} layers have adapters or quantised weights ({kept[0]}, ...). catalog.adapters.save(model, folder) "
            "writes the adapters; after catalog.adapters.merge(model) the model can be saved as a whole"
        )
    away = [] if weights is not None else [name for name, tensor in state.items() if tensor.is_meta]
    if away:
        raise SaveError(
            f"{len(away)} tensors have no values here ({away[0]}, ...): they are on the disk, or the model was built on "
            "'meta'. Load it without device_map to save it"
        )
    mapping = registry.names_of_model(model)
    for step in mapping.steps([name for name in state if name not in copies], published=False):
        tensors = [state[name] for name in step.ours]
        if step.op is not None:
            tensors = step.op.save(tensors, model.config)
        yield from zip(step.published, tensors)
