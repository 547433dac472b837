"""CLIP's byte-level BPE: lower case, words end in ``</w>``. Radford et al., 2021 (arXiv:2103.00020)."""

import tokenizers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from catalog.processors.text import originals
from catalog.processors.text.bytelevel import MERGES, VOCAB, model
from catalog.processors.text.family import Family, always
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.vocabularies import Source

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    originals.publish(source)
    made = tokenizers.Tokenizer(model(source, end_of_word_suffix="</w>", unk_token=special["unk_token"]))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False, add_prefix_space=False)
    return made


class ClipTokenizer(Tokenizer):
    """Decodes the end of a word as a blank."""

    def _text_of(self, ids, skip_special_tokens) -> str:
        return super()._text_of(ids, skip_special_tokens).replace("</w>", " ").strip()


FAMILIES = {
    "CLIP": Family(
        build=build,
        files=(VOCAB, MERGES),
        special={
            "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
        },
        template=always("bos $A eos", "bos $A eos eos $B eos"),
        face=ClipTokenizer,
    ),
}  # fmt: skip
