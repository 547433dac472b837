"""Values that are each allowed and cannot stand together."""

from collections.abc import Mapping
from typing import Any

from launchers.config.compose import Composed
from launchers.config.errors import OptionError
from launchers.config.values import show


def refuse_combinations(values: Mapping[str, Any], composed: Composed) -> None:
    """Raise ``OptionError`` that names the keys, both places and the way out."""

    def refuse(what: str, names: tuple[str, ...], *hints: str) -> None:
        places = "; ".join(
            dict.fromkeys(composed.origins[name][-1].where for name in names if name in composed.origins)
        )
        raise OptionError(what, places, hints)

    def said(name: str) -> str:
        return f"{name}={show(values[name])}"

    tokens, size = values["batch.tokens"], values["batch.size"]
    if tokens is not None and size is not None:
        refuse(
            f"{said('batch.size')} and {said('batch.tokens')} both fill a batch",
            ("batch.size", "batch.tokens"),
            "one of them is null: add batch.tokens=null or batch.size=null",
        )
    if tokens is None and size is None:
        refuse(
            "batch.size and batch.tokens are both null", ("batch.size", "batch.tokens"), "give one: batch.tokens=4096"
        )
    if tokens is not None and tokens < values["batch.max_length"]:
        refuse(
            f"{said('batch.tokens')} cannot hold one sequence of {said('batch.max_length')}",
            ("batch.tokens", "batch.max_length"),
            f"raise batch.tokens to at least {values['batch.max_length']} or lower batch.max_length",
        )
    weights, paths = values["data.weights"], values["data.path"]
    if weights is not None and (not isinstance(paths, tuple) or len(paths) != len(weights) or values["data.stream"]):
        refuse(
            f"{said('data.weights')} beside {said('data.stream' if values['data.stream'] else 'data.path')}",
            ("data.weights", "data.path"),
            "a weight for each of several paths, as data.path=[a,b] data.weights=[0.7,0.3]; a stream has none",
        )
    if values["data.stream"]:
        if values["data.path"] is None:
            refuse(
                "data.stream=true reads files and data.path=null", ("data.stream", "data.path"), "add data.path=FOLDER"
            )
        if tokens is not None or values["batch.layout"] in ("bucketed", "fixed"):
            refuse(
                f"data.stream=true beside {said('batch.tokens') if tokens is not None else said('batch.layout')}: how long a "
                "row is will only be known when it is read",
                ("data.stream", "batch.tokens" if tokens is not None else "batch.layout"),
                "add batch.size=32 batch.tokens=null, with batch=unpadded or batch=padded",
            )
    if values["train.epochs"] is None and values["train.steps"] is None:
        refuse(
            "train.epochs and train.steps are both null", ("train.epochs", "train.steps"), "give one: train.epochs=3"
        )
    warmup, steps = values["schedule.warmup"], values["train.steps"]
    if isinstance(warmup, int) and steps is not None and warmup > steps:
        refuse(
            f"{said('schedule.warmup')} steps of warm-up in a run of {said('train.steps')}",
            ("schedule.warmup", "train.steps"),
            f"at most {steps}, or a share: schedule.warmup=6%",
        )
    sized = [name for name in composed.origins if name.startswith("model.config.") and _typed(composed, name)]
    sized = [name for name in sized if not name.endswith("dropout")]
    if values["model.source"] is not None and sized:
        refuse(
            f"{sized[0]} beside {said('model.source')}: a checkpoint has the sizes of its config.json",
            (sized[0], "model.source"),
            "leave model.config out, or take new weights: model.source=null",
        )


def _typed(composed: Composed, name: str) -> bool:
    """Whether the value of ``name`` came from the command line and not from an option that was meant for new weights."""
    return composed.origins[name][-1].where.startswith("command line")
