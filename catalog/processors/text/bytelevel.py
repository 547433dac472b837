"""Byte-level BPE: text as bytes, bytes as visible letters, pairs joined in the order they were learnt.

Sennrich et al., 2016 (arXiv:1508.07909); over bytes: Radford et al., 2019 (GPT-2).
"""

import json

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from catalog.errors import ProcessorError
from catalog.processors.text import originals
from catalog.processors.text.family import ANGLES, TYPED, Family, always
from catalog.processors.text.vocabularies import Source, from_json, merges

VOCAB, MERGES = ("vocab.json",), ("merges.txt",)
BLOOM_WORDS = " ?[^(\\s|[.,!?…。，、।۔،])]+"


def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.json and merges.txt -> engine. ``add_prefix_space``: the first word is as any other."""
    originals.publish(source)
    made = tokenizers.Tokenizer(model(source))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options["add_prefix_space"])
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(
        trim_offsets=options.get("trim_offsets", False), add_prefix_space=options["add_prefix_space"]
    )
    return made


def model(source: Source, **more) -> models.BPE:
    vocab, pairs = from_json(source, *VOCAB), merges(source, *MERGES)
    try:
        return models.BPE(vocab, pairs, **more)
    except Exception as error:  # a merge of or to a piece that the vocabulary lacks
        raise ProcessorError(f"{source.path(source.find(*MERGES))}: does not fit the vocabulary ({error})") from None


def build_neox(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    made = build(source, options, special)
    made.normalizer = normalizers.NFC()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    return made


def build_bloom(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """BLOOM splits words by its own pattern. Le Scao et al., 2022 (arXiv:2211.05100)."""
    made = build(source, options, special)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(BLOOM_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=options["add_prefix_space"], use_regex=False),
        ]
    )
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    return made


def train(texts, vocab_size: int, *, min_count: int, special) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Texts -> vocabulary (special tokens, bytes, joined pieces) and the pairs in the order in which they were joined."""
    if vocab_size < (least := len(special) + 256):
        raise ProcessorError(f"vocab_size={vocab_size} is less than the {least} special tokens and bytes")
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=min_count, special_tokens=list(special), initial_alphabet=alphabet,
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(texts, trainer)
    learnt = json.loads(made.to_str())["model"]
    return learnt["vocab"], [tuple(pair) for pair in learnt["merges"]]


ENDS = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
DEBERTA = {
    "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
    "cls_token": "[CLS]", "mask_token": "[MASK]",
}  # fmt: skip
BYTES = {"build": build, "files": (VOCAB, MERGES)}


def gpt2_template(options: dict) -> tuple[str, str]:
    return ("bos $A", "bos $A bos $B:1") if options["add_bos_token"] else ("$A", "$A $B:1")


ROBERTA = Family(
    **BYTES,
    special=ANGLES,
    template=always("cls $A sep", "cls $A sep sep $B sep"),
    options={"add_prefix_space": False, "trim_offsets": True},
)
GPT2 = Family(
    **BYTES,
    special=ENDS,
    template=gpt2_template,
    options={"add_prefix_space": False, "add_bos_token": False},
    template_options=("add_bos_token",),
)

FAMILIES = {
    **dict.fromkeys(("Roberta", "Bart", "LED", "Longformer", "Mvp"), ROBERTA),
    "Blenderbot": Family(
        **BYTES,
        special=ANGLES,
        template=always("$A eos", "$A $B"),  # as the published fast class: no end after a pair
        options={"add_prefix_space": False},
    ),
    "Bloom": Family(
        **BYTES | {"build": build_bloom},
        special=ENDS | {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        template=always("$A", "$A $B:1"),
        options={"add_prefix_space": False},
    ),
    "CodeGen": GPT2,
    "Deberta": Family(
        **BYTES,
        special=DEBERTA,
        template=always("cls $A sep", "cls $A sep $B:1 sep:1"),
        options={"add_prefix_space": False},
        inputs=TYPED,
    ),
    "GPT2": GPT2,
    "GPTNeoX": Family(
        **BYTES | {"build": build_neox},
        special=ENDS,
        template=gpt2_template,
        options=GPT2.options,
        template_options=GPT2.template_options,
    ),
}
