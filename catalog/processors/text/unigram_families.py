"""The published classes over a SentencePiece unigram model."""

from tokenizers import normalizers, pre_tokenizers

from catalog.processors.text.family import ANGLES, TYPED, Family, always, these
from catalog.processors.text.languages import MBART, MBART50
from catalog.processors.text.unigram import (
    FILES,
    camembert,
    converted,
    fairseq,
    no_number_commas,
    no_rules,
    pegasus,
    plain,
    quotes_case_accents,
    sentinels,
    single_blanks,
    with_sentinels,
)  # fmt: skip

MADE_UP = [f"<madeupword{i}>" for i in range(7)]
CASED = {"do_lower_case": False, "keep_accents": False}
BRACKETED = {
    "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "sep_token": "[SEP]", "pad_token": "<pad>",
    "cls_token": "[CLS]", "mask_token": "[MASK]",
}  # fmt: skip
ENDED = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
BERT_TEMPLATE = always("cls $A sep", "cls $A sep $B:1 sep:1")
ROBERTA_TEMPLATE = always("cls $A sep", "cls $A sep sep $B sep")
END_TEMPLATE = always("$A eos", "$A eos $B eos")


def spm(build, **page) -> Family:
    return Family(build=build, files=(FILES,), **page)


def case_and_ends(options: dict) -> list:
    return [normalizers.Lowercase()] * options["do_lower_case"] + [normalizers.Strip()]


def blanks_first(options: dict) -> list:
    """RemBERT makes blanks single before the file's own rules, which may leave several."""
    return quotes_case_accents(options) + single_blanks(options)


def mbart_template(options: dict) -> tuple[str, str]:
    return f"$A eos {options['src_lang']}", f"$A $B eos {options['src_lang']}"


def mbart50_template(options: dict) -> tuple[str, str]:
    return f"{options['src_lang']} $A eos", f"{options['src_lang']} $A $B eos"


FAMILIES = {
    "Albert": spm(
        converted(no_number_commas, before=quotes_case_accents), special=BRACKETED, template=BERT_TEMPLATE, inputs=TYPED,
        options={"do_lower_case": True, "keep_accents": False},
    ),
    "Barthez": spm(converted(plain, unk=3), special=ANGLES, template=ROBERTA_TEMPLATE),
    "BigBird": spm(
        converted(plain), special=ANGLES | {"sep_token": "[SEP]", "cls_token": "[CLS]", "mask_token": "[MASK]"},
        template=BERT_TEMPLATE,
    ),
    "Camembert": spm(
        converted(camembert, unk=3), special=ANGLES, template=ROBERTA_TEMPLATE, more_special=these("<s>NOTUSED", "</s>NOTUSED"),
    ),
    "DebertaV2": spm(
        converted(plain, before=case_and_ends), swallow_left=(),
        special=BRACKETED | {"unk_token": "[UNK]", "pad_token": "[PAD]"}, template=BERT_TEMPLATE, inputs=TYPED,
        options={"do_lower_case": False},
    ),
    "FNet": spm(
        converted(no_number_commas, before=quotes_case_accents), template=BERT_TEMPLATE, inputs=TYPED[:2],
        special={role: token for role, token in BRACKETED.items() if role not in ("bos_token", "eos_token")},
        options={"do_lower_case": False, "keep_accents": True},
    ),
    "MBart": spm(
        converted(fairseq(*MBART, "<mask>"), unk=3), special=ANGLES, template=mbart_template,
        more_special=these(*MBART), options={"src_lang": "en_XX", "tgt_lang": None}, template_options=("src_lang",),
    ),
    "MBart50": spm(
        converted(fairseq(*MBART50, "<mask>"), unk=3), template=mbart50_template,
        special={role: token for role, token in ANGLES.items() if role != "bos_token"},
        more_special=these(*MBART50), options={"src_lang": "en_XX", "tgt_lang": None},
        template_options=("src_lang",),
    ),
    "Pegasus": spm(
        converted(pegasus, unk=105, split=pre_tokenizers.WhitespaceSplit()), options={"offset": 103},
        special=ENDED | {"mask_token": "<mask_2>"}, more_special=these("<mask_1>", *(f"<unk_{i}>" for i in range(2, 103))),
        swallow_left=(), template=always("$A eos", "$A $B eos"),
    ),
    "Reformer": spm(
        converted(plain), special={"eos_token": "</s>", "unk_token": "<unk>"}, template=always("$A", "$A $B:1"),
    ),
    "RemBert": spm(
        converted(plain, before=blanks_first, after=no_rules), special=BRACKETED, template=BERT_TEMPLATE, inputs=TYPED,
        options={"do_lower_case": True, "keep_accents": False},
    ),
    "T5": spm(
        converted(with_sentinels), special=ENDED, template=END_TEMPLATE, options={"extra_ids": 100},
        more_special=sentinels,
    ),
    "XGLM": spm(
        converted(fairseq(*MADE_UP), unk=3),
        special={role: token for role, token in ANGLES.items() if role != "mask_token"},
        template=always("eos $A", "eos $A eos eos $B"), more_special=these(*MADE_UP),
    ),
    "XLMRoberta": spm(converted(fairseq("<mask>"), unk=3), special=ANGLES, template=ROBERTA_TEMPLATE),
    "XLNet": spm(
        converted(no_number_commas, before=quotes_case_accents), options=CASED, more_special=these("<eop>", "<eod>"),
        special=ANGLES | {"sep_token": "<sep>", "cls_token": "<cls>"}, inputs=TYPED, padding_side="left", pad_type=3,
        template=always("$A sep cls:2", "$A sep $B:1 sep:1 cls:2"),
    ),
}  # fmt: skip
