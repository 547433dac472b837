"""What a tokenizer is besides its algorithm, and what it returns to the trainer."""

from dataclasses import dataclass, field
from typing import NamedTuple

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a tokenizer is besides its algorithm; written to ``tokenizer_config.json``."""

    name: str  # published class name, "BertTokenizer"
    special: dict[str, str]  # role -> token
    more_special: tuple[str, ...] = ()  # published as additional_special_tokens
    inputs: tuple[str, ...] = ("input_ids", "token_type_ids", "attention_mask")
    padding_side: str = "right"
    truncation_side: str = "right"
    max_length: int | None = None  # of the model; a text is only cut where the caller says so
    pad_type: int = 0  # token type of padding
    tidy: bool = True  # published as clean_up_tokenization_spaces: no blank before punctuation when decoding
    options: dict = field(default_factory=dict)  # constructor arguments of the published class
    chat_template: str | None = None  # how a conversation is written (see chat.py)


class Ids(NamedTuple):
    """Rows of ids without padding. ``token_type_ids`` is None for models without segments."""

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None


def tidied(text: str) -> str:
    """Published clean-up of decoded text: no blank before . ? ! , and English contractions joined."""
    for blanked, joined in _TIDY:
        text = text.replace(blanked, joined)
    return text


_TIDY = [(" " + end, end) for end in (".", "?", "!", ",")] + [
    (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
]  # fmt: skip
