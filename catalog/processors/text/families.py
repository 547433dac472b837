"""Which algorithm, special tokens and templates each published tokenizer class has.

The published slow and fast classes of one name ("BertTokenizer", "BertTokenizerFast") are one family here.
A template is written in roles: ``cls $A sep`` with ``:1`` for token type 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from catalog.errors import ProcessorError, did_you_mean

PLAIN = ("input_ids", "attention_mask")
TYPED = ("input_ids", "token_type_ids", "attention_mask")


@dataclass(frozen=True, kw_only=True)
class Family:
    """``build`` and ``face`` are "module:name" below this package, imported when first used."""

    build: str  # (source, options, special) -> tokenizers.Tokenizer
    files: tuple[tuple[str, ...], ...]  # vocabulary files; alternatives in order of preference
    special: dict[str, str]
    template: Callable[[dict], tuple[str, str]]  # options -> (single, pair)
    options: dict = field(default_factory=dict)  # constructor arguments that matter, with published defaults
    more_special: tuple[str, ...] = ()
    inputs: tuple[str, ...] = PLAIN
    swallow_left: tuple[str, ...] = ("mask_token",)  # roles whose token takes the blank before it
    padding_side: str = "right"
    pad_type: int = 0
    face: str = "tokenizer:Tokenizer"


def fixed(single: str, pair: str):
    """A template that no option changes."""
    return lambda options: (single, pair)


BRACKETS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
ANGLES = {
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
    "cls_token": "<s>", "mask_token": "<mask>",
}  # fmt: skip
BERT_TEMPLATE = fixed("cls $A sep", "cls $A sep $B:1 sep:1")


def wordpiece(**changed) -> Family:
    """BERT and its like."""
    page = dict(
        build="wordpiece:build", files=(("vocab.txt",),), special=BRACKETS, template=BERT_TEMPLATE, inputs=TYPED,
        options={"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}, swallow_left=(),
    )  # fmt: skip
    return Family(**page | changed)


FAMILIES: dict[str, Family] = {
    "Bert": wordpiece(),
    "ConvBert": wordpiece(),
    "DistilBert": wordpiece(inputs=PLAIN),
    "DPRContextEncoder": wordpiece(),
    "DPRQuestionEncoder": wordpiece(),
    "Electra": wordpiece(),
    "Funnel": wordpiece(
        special={
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "<sep>", "pad_token": "<pad>",
            "cls_token": "<cls>", "mask_token": "<mask>",
        },
        template=fixed("cls:2 $A sep", "cls:2 $A sep $B:1 sep:1"),
    ),
    "LayoutLM": wordpiece(),
    "Lxmert": wordpiece(),
    "MobileBert": wordpiece(),
    "MPNet": wordpiece(
        special=ANGLES | {"unk_token": "[UNK]"}, template=fixed("cls $A sep", "cls $A sep sep $B sep"), inputs=PLAIN,
        swallow_left=("mask_token",),
    ),
    "SqueezeBert": wordpiece(),
}  # fmt: skip

# config.json's model_type -> family, for published folders whose tokenizer_config.json does not name the class
MODEL_TYPES = {
    "bert": "Bert", "convbert": "ConvBert", "distilbert": "DistilBert", "electra": "Electra", "funnel": "Funnel",
    "layoutlm": "LayoutLM", "lxmert": "Lxmert", "mobilebert": "MobileBert", "mpnet": "MPNet", "squeezebert": "SqueezeBert",
}  # fmt: skip


def family(name: str) -> Family:
    """The family of a published class name, slow or fast."""
    short = name.removesuffix("Fast").removesuffix("Tokenizer")
    if short not in FAMILIES:
        known = [f"{known}Tokenizer" for known in FAMILIES]
        raise ProcessorError(f"no tokenizer class '{name}' here{did_you_mean(name, known)} All: {', '.join(known)}")
    return FAMILIES[short]


def part(path: str):
    """The function or class that "module:name" names."""
    module, name = path.split(":")
    return getattr(import_module(f"catalog.processors.text.{module}"), name)
