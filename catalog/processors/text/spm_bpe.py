"""SentencePiece BPE models with byte fallback, as LLaMA has them. Touvron et al., 2023 (arXiv:2302.13971)."""

from contextlib import contextmanager
from dataclasses import replace

import tokenizers
from tokenizers import decoders, models, normalizers

from catalog.errors import ProcessorError
from catalog.processors.text import spm_file
from catalog.processors.text.family import PLAIN, Family, these
from catalog.processors.text.spm_file import SpmFile
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.unigram import FILES, read
from catalog.processors.text.vocabularies import Source

PREFIX, MIDDLE, SUFFIX, FILL = "▁<PRE>", "▁<MID>", "▁<SUF>", "<FILL_ME>"


def merges_of(model: SpmFile) -> list[tuple[str, str]]:
    """The file holds pieces and scores only: every split of a piece into two others is a merge, best score first."""
    ids = {text: i for i, (text, _, _) in enumerate(model.pieces)}
    found = []
    for text, score, _ in model.pieces:
        splits = [(text[:at], text[at:]) for at in range(1, len(text))]
        known = [pair for pair in splits if pair[0] in ids and pair[1] in ids]
        found += [(score, pair) for pair in sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))]
    found.sort(key=lambda entry: entry[0], reverse=True)
    return [pair for _, pair in found]


def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    model = read(source, spm_file.BPE)
    vocab = {text: i for i, (text, _, _) in enumerate(model.pieces)}
    made = tokenizers.Tokenizer(
        models.BPE(vocab, merges_of(model), unk_token=special["unk_token"], fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


def llama_template(options: dict) -> tuple[str, str]:
    first, last = "bos " * options["add_bos_token"], " eos" * options["add_eos_token"]
    one, two = "bos:1 " * options["add_bos_token"], " eos:1" * options["add_eos_token"]
    return f"{first}$A{last}", f"{first}$A{last} {one}$B:1{two}"


def code_llama_template(options: dict) -> tuple[str, str]:
    """A pair is a prefix and a suffix around what is to be filled in. Rozière et al., 2023 (arXiv:2308.12950)."""
    first, last = "bos " * options["add_bos_token"], " eos" * options["add_eos_token"]
    parts = f"{PREFIX} {SUFFIX} $B {MIDDLE} $A" if options["suffix_first"] else f"{PREFIX} $A {SUFFIX} $B {MIDDLE}"
    return f"{first}$A{last}", f"{first}{parts}{last}"


class CodeLlamaTokenizer(Tokenizer):
    """Infilling: a text with ``<FILL_ME>``, or a pair (prefix, suffix)."""

    def _encode(self, texts, pairs=None, **how):
        texts = list(texts)
        pairs = [None] * len(texts) if pairs is None else list(pairs)
        rows = [self._parts(text, pair) for text, pair in zip(texts, pairs, strict=True)]
        found = [None] * len(rows)
        for is_pair in (False, True):
            places = [place for place, row in enumerate(rows) if bool(row[1]) == is_pair]
            if places:
                first, second = zip(*(rows[place] for place in places))
                with self._spelling(infill=is_pair):
                    encoded = super()._encode(first, second if is_pair else None, **how)
                for place, encoding in zip(places, encoded):
                    found[place] = encoding
        return found

    def _parts(self, text, pair):
        if pair is None and isinstance(text, str) and FILL in text:
            parts = text.split(FILL)
            if len(parts) > 2:
                raise ProcessorError(
                    f"a text holds {FILL} {len(parts) - 1} times; one place can be filled in at a time"
                )
            text, pair = parts
        return (" " + text, pair) if pair else (text, pair)

    @contextmanager
    def _spelling(self, infill: bool):
        """A suffix goes on where the prefix ended: no blank is put before it."""
        with self._lock:
            plain = self.engine.normalizer
            if infill:
                self.engine.normalizer = normalizers.Replace(" ", "▁")
            try:
                yield
            finally:
                self.engine.normalizer = plain


LLAMA = Family(
    build=build,
    files=(FILES,),
    special={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    template=llama_template,
    options={"add_bos_token": True, "add_eos_token": False},
    template_options=("add_bos_token", "add_eos_token"),
    inputs=PLAIN,
    padding_side="left",
    tidy=False,
)

FAMILIES = {
    "Llama": LLAMA,
    "CodeLlama": replace(
        LLAMA,
        template=code_llama_template,
        options=LLAMA.options | {"suffix_first": False},
        template_options=(*LLAMA.template_options, "suffix_first"),
        more_special=these(PREFIX, MIDDLE, SUFFIX, "▁<EOT>"),
        face=CodeLlamaTokenizer,
    ),
}
