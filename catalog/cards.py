"""What the catalog knows of its models as data: papers, modalities and the published sizes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from catalog import registry
from catalog.errors import UnknownModel, closest

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Preset:
    """One published size: its hub id, the row of the support table, the class whose parameters were counted.

    ``params`` is the published count where an exact one is known, ``params_published`` the rounded one people quote (or "-").
    """

    name: str
    model: str
    row: str
    published_class: str
    params: int | None
    params_published: str
    config: Mapping[str, Any]

    def memory(self, bytes_: int) -> str:
        """What its parameters take at so many bytes each: ``"438 MB"``; ``"-"`` where no count is known."""
        count = self.params or _count(self.params_published)
        return "-" if count is None else f"{_short(count * bytes_, 'GB', 'MB', 'KB')}"

    def published(self) -> dict[str, Any]:
        """Its ``config.json`` as far as it shapes the network: the facts that differ from the page's defaults."""
        return {"model_type": self.model, "architectures": [self.published_class], **self.config}


@dataclass(frozen=True)
class Card:
    """What a model is: paper, modality, heads, sizes, processor."""

    model: str
    paper: str
    modality: str
    processor: str
    heads: tuple[str, ...]
    rows: tuple[str, ...]
    sizes: tuple[Preset, ...]

    def __str__(self):
        lines = [
            f"{self.model}: {self.paper}",
            f"modality   {self.modality}",
            f"processor  {self.processor}",
            f"rows       {', '.join(self.rows)}",
            f"heads      {', '.join(self.heads) or 'none'}",
            "sizes",
        ]
        width = max((len(size.name) for size in self.sizes), default=0)
        lines[-1] = f"{'sizes':{width}}    parameters      fp32      bf16  row"
        for size in self.sizes:
            memory = "".join(f"{size.memory(bytes_):>10}" for bytes_ in (4, 2))
            lines.append(f"  {size.name:{width}}  {size.params_published:>10}{memory}  {size.row}")
        return "\n".join(lines)


@cache
def _file(model: str) -> dict[str, Any]:
    return json.loads((PRESETS / f"{model}.json").read_text(encoding="utf-8"))


def sizes(model: str) -> tuple[Preset, ...]:
    """The published sizes of a model. Raises UnknownModel."""
    registry.require(model)
    return tuple(
        Preset(
            name=size["name"],
            model=model,
            row=size["row"],
            published_class=size["class"],
            params=size.get("params"),
            params_published=size.get("params_published") or _short(size.get("params")),
            config=size["config"],
        )
        for size in _file(model)["sizes"]
    )


def _short(count, *units):
    if count is None:
        return "-"
    for unit, size in zip(units or ("B", "M", "K"), (1e9, 1e6, 1e3)):
        if count >= size:
            return f"{count / size:.3g}{' ' * bool(units)}{unit}"
    return str(count)


def _count(short):
    return None if short == "-" else int(float(short[:-1]) * {"B": 1e9, "M": 1e6, "K": 1e3}[short[-1]])


def presets() -> dict[str, Preset]:
    """Every published size in the catalog by its hub id."""
    return {size.name: size for model in registry.names() for size in sizes(model)}


def rows() -> dict[str, str]:
    """Every row of the support table that the catalog serves -> its model (a tower stands behind the model of both)."""
    return {size.row: model for model in reversed(registry.names()) for size in sizes(model)}


def unknown(name: str) -> UnknownModel:
    """The error for a name that is no model, no row and no published size, with close ones of each kind."""
    known_rows = [row.lower().replace(" ", "-") for row in rows()]
    near = closest(name.lower().replace(" ", "-"), dict.fromkeys([*registry.MODELS, *known_rows, *presets()]))
    close = f" Close names: {', '.join(map(repr, near))}." if near else ""
    return UnknownModel(f"no model, row or size '{name}' in the catalog.{close} All: python -m catalog list")


def card(name: str) -> Card:
    """What a model, a row of the support table (``"FLAN-T5"``, ``"flan-t5"``) or a published size is.

    Raises UnknownModel with close names.
    """
    by_row = {row.lower().replace(" ", "-"): model for row, model in rows().items()}
    wanted = name.lower().replace(" ", "-")
    model = name if name in registry.MODELS else by_row.get(wanted)
    if model is None and name in presets():
        model = presets()[name].model
    if model is None:
        raise unknown(name)
    data, own = _file(model), sizes(model)
    return Card(
        model=model,
        paper=data["paper"],
        modality=data["modality"],
        processor=data["processor"],
        heads=tuple(registry.heads(model)),
        rows=tuple(dict.fromkeys(size.row for size in own)),
        sizes=own,
    )
