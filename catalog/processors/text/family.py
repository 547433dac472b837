"""What one published tokenizer class is, as data: algorithm, vocabulary files, special tokens, templates."""

from collections.abc import Callable
from dataclasses import dataclass, field

from catalog.processors.text.tokenizer import Tokenizer

PLAIN = ("input_ids", "attention_mask")
TYPED = ("input_ids", "token_type_ids", "attention_mask")

ANGLES = {
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
    "cls_token": "<s>", "mask_token": "<mask>",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Family:
    """The published slow and fast classes of one name ("BertTokenizer", "BertTokenizerFast") are one family.

    A template is written in roles: ``cls $A sep`` with ``:1`` for token type 1; other words stand for themselves.
    """

    build: Callable  # (source, options, special) -> tokenizers.Tokenizer
    files: tuple[tuple[str, ...], ...]  # vocabulary files; alternatives in order of preference
    special: dict[str, str]
    template: Callable[[dict], tuple[str, str]]  # options -> (single, pair)
    template_options: tuple[str, ...] = ()  # of these, what only the template depends on
    options: dict = field(default_factory=dict)  # constructor arguments that matter, with published defaults
    more_special: Callable[[dict], tuple[str, ...]] = lambda options: ()  # options -> additional_special_tokens
    inputs: tuple[str, ...] = PLAIN
    swallow_left: tuple[str, ...] = ("mask_token",)  # roles whose token takes the blanks before it
    swallow_right: tuple[str, ...] = ()  # ... and after it
    padding_side: str = "right"
    pad_type: int = 0
    tidy: bool = True
    face: type[Tokenizer] = Tokenizer


def always(single: str, pair: str):
    """A template that no option changes."""
    return lambda options: (single, pair)


def these(*tokens: str):
    """Additional special tokens that no option changes."""
    return lambda options: tokens
