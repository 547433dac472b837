"""What a recipe can be told about its model and data; defaults are in ``conf/``, metadata as in ``trainer/options.py``."""

from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["demo", "full"]


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The head of a file in ``conf/recipe``: what the recipe is, not how it runs."""

    about: str = field(metadata={"help": "one line of text for --help"})
    tasks: tuple[str, ...] = field(metadata={"help": "a list of the values that task= may have"})
    scales: dict[str, dict[str, Any]] = field(
        metadata={"help": "demo and full, and what each sets, written as on the command line"}
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which catalog model, with which head, from where."""

    name: str = field(metadata={"help": "the catalog's name of the architecture", "option": True})
    head: str | None = field(metadata={"help": "the catalog's name of the task head"})
    source: str | None = field(metadata={"help": "folder or hub id of a checkpoint; null: new weights"})
    tokenizer: str | None = field(
        metadata={"help": "vocab.txt, tokenizer.json, folder or hub id; null: the checkpoint's, or trained on the data"}
    )
    config: dict[str, Any] = field(
        metadata={"help": "fields of the model's configuration in the catalog's words, as model.config.depth=4"}
    )


@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """Whether all weights learn, or small matrices beside them."""

    name: Literal["none", "lora"] = field(
        metadata={
            "help": "none: all weights learn; lora: low-rank matrices beside frozen ones (arXiv:2106.09685), and the head",
            "option": True,
        }
    )
    targets: tuple[str, ...] = field(
        metadata={"help": "linear layers that are adapted, by the end of their names: attn.q, attn.*, mlp.{up,down}"}
    )
    rank: int = field(metadata={"help": "rows of an adapter's matrices", "min": 1})
    alpha: float = field(metadata={"help": "what adapters add counts alpha / rank", "above": 0})
    dropout: float = field(metadata={"help": "share of an adapter's input that is left out", "min": 0, "below": 1})
    base: Literal["as_is", "int8", "nf4"] = field(
        metadata={"help": "how frozen matrices are held: as they are, in eight bits, or in four (arXiv:2305.14314)"}
    )
    also: tuple[str, ...] = field(
        metadata={"help": "patterns of further weights that learn as a whole, as backbone.pool.*; the head always does"}
    )


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which examples."""

    path: str | tuple[str, ...] | None = field(
        metadata={"help": "file, pattern or folder with your own examples, or several as [a,b]; null: the recipe's"}
    )
    weights: tuple[float, ...] | None = field(
        metadata={
            "help": "share of the training rows that each of data.path=[a,b] gives; null: all its rows",
            "above": 0,
        }
    )
    name: str | None = field(metadata={"help": "hub id of the data set; null: the sample that ships here"})
    subset: str | None = field(
        metadata={"help": "which part of the hub's data set, where it has parts; null: the task's"}
    )
    stream: bool = field(
        metadata={"help": "read parquet and arrow files batch by batch, without preparing them; with batch.size"}
    )
    split_train: str = field(metadata={"help": "split to learn from"})
    split_eval: str | None = field(metadata={"help": "split to measure on; null: the task's own"})
    columns: tuple[str, ...] | None = field(
        metadata={"help": "columns of text in your files, in the order they are read; null: as the task names them"}
    )
    label: str | None = field(metadata={"help": "column of the label in your files; null: as the task names it"})
