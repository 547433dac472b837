"""What one recipe can be told beyond what all can: the keys ``options.*``; values are in the recipe's YAML.

A recipe that is not in ``OPTIONS`` has none. Metadata as in ``trainer/options.py``. Nothing heavy is imported here, for the
configuration is checked with these classes before anything else.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MaskingOptions:
    """Which tokens a masked language model has to guess (Devlin et al., 2018, arXiv:1810.04805, section 3.1)."""

    mask: float = field(metadata={"help": "share of the tokens to guess", "above": 0, "max": 1})
    whole_word: bool = field(metadata={"help": "choose whole words, all their pieces at once"})
    document: Literal["row", "file", "title"] = field(
        metadata={
            "help": "what a document is: row: each row; file: all lines of a file; title: from one line '= Title =' to the "
            "next, as in WikiText"
        }
    )


@dataclass(frozen=True, kw_only=True)
class CausalOptions:
    """What a running text is made of."""

    document: Literal["row", "file", "title"] = field(
        metadata={
            "help": "what a document is, beyond which nothing is attended to: row: each row; file: all lines of a file; "
            "title: from one line '= Title =' to the next, as in WikiText"
        }
    )


@dataclass(frozen=True, kw_only=True)
class InstructionOptions:
    """How an answer is asked for."""

    system: str | None = field(metadata={"help": "what the system says before every instruction; null: nothing"})
    max_new_tokens: int = field(metadata={"help": "longest answer that is written when measuring, in tokens", "min": 1})


@dataclass(frozen=True, kw_only=True)
class TaggingOptions:
    """What words are tagged with."""

    labels: tuple[str, ...] | None = field(
        metadata={"help": "all tags, in the order of the model's classes; null: those of the training rows"}
    )


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """Where the endings to choose from stand."""

    endings: Literal["list", "columns"] = field(
        metadata={
            "help": "list: a column context, and a list of endings in another; columns: as SWAG has them, sent1, sent2 and "
            "ending0 to ending3"
        }
    )


OPTIONS: dict[str, type] = {
    "bert_mlm": MaskingOptions,
    "bert_ner": TaggingOptions,
    "bert_pos": TaggingOptions,
    "bert_swag": ChoiceOptions,
    "bert_pretrain": MaskingOptions,
    "gpt2_clm": CausalOptions,
    "llama_clm": CausalOptions,
    "llama_sft": InstructionOptions,
}
