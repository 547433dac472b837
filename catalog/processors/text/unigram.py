"""SentencePiece unigram models as ``tokenizers`` engines.

Kudo, 2018 (arXiv:1804.10959); Kudo and Richardson, 2018 (arXiv:1808.06226). A family says how the pieces of the model file
are laid out over ids, which rules of the text come before the file's own, and its templates.
"""

from collections.abc import Callable

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from catalog.errors import ProcessorError
from catalog.processors.text import spm_file
from catalog.processors.text.spm_file import SpmFile
from catalog.processors.text.vocabularies import Source

FILES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model", "sentencepiece.model")
Pieces = list[tuple[str, float]]


def read(source: Source, kind: int) -> SpmFile:
    """The model file of a folder, refused where it is of another algorithm."""
    name, content = source.bytes(*FILES)
    model = spm_file.read(content, source.path(name))
    if model.model_type != kind:
        names = {spm_file.UNIGRAM: "unigram", spm_file.BPE: "BPE", spm_file.WORD: "word", spm_file.CHAR: "character"}
        raise ProcessorError(f"{source.path(name)}: a {names[model.model_type]} model; expected {names[kind]}")
    try:
        compiled(model)
    except Exception as error:  # the library raises bare Exception
        raise ProcessorError(f"{source.path(name)}: its normalisation rules are damaged ({error})") from None
    return model


def no_rules(options: dict) -> list:
    return []


def single_blanks(options: dict) -> list:
    return [normalizers.Replace(Regex(" {2,}"), " ")]


def converted(
    layout: Callable, *, unk: int | None = None, before=no_rules, after=single_blanks, split=None
) -> Callable:
    """A family's ``build``.

    layout  (model, options) -> pieces with scores in id order
    unk     id of the unknown piece, where it is not the file's own
    before  options -> normalizers ahead of the file's own, ``after`` -> behind them
    split   a pre-tokenizer ahead of the one that marks blanks
    """

    def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
        model = read(source, spm_file.UNIGRAM)
        made = tokenizers.Tokenizer(models.Unigram(layout(model, options), unk_id=model.unk_id if unk is None else unk))
        made.normalizer = normalizers.Sequence([*before(options), *compiled(model), *after(options)])
        blanks = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
        made.pre_tokenizer = pre_tokenizers.Sequence([split, blanks]) if split else blanks
        made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        return made

    return build


def compiled(model: SpmFile) -> list:
    """The normalisation rules inside the file."""
    return [normalizers.Precompiled(model.charsmap)] if model.charsmap else []


def quotes_case_accents(options: dict) -> list:
    """ALBERT's and XLNet's rules: plain quotes, no accents, lower case."""
    rules = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not options["keep_accents"]:
        rules += [normalizers.NFKD(), normalizers.StripAccents()]
    return rules + ([normalizers.Lowercase()] if options["do_lower_case"] else [])


# -- layouts


def plain(model: SpmFile, options: dict) -> Pieces:
    return model.scores


def no_number_commas(model: SpmFile, options: dict) -> Pieces:
    """A piece such as "1," is put out of reach, so that the comma is split off, as when ALBERT was trained."""
    return [(text, score - 100 if text[-2:-1].isdigit() and text[-1] == "," else score) for text, score in model.scores]


def with_sentinels(model: SpmFile, options: dict) -> Pieces:
    """T5: <extra_id_0> is the last id, the others count down from it."""
    return model.scores + [(token, 0.0) for token in reversed(sentinels(options))]


def sentinels(options: dict) -> tuple[str, ...]:
    return tuple(f"<extra_id_{i}>" for i in range(options["extra_ids"]))


def fairseq(*tail: str) -> Callable:
    """XLM-R and mBART: fairseq's four special tokens first, the file's own three dropped, then ``tail``."""
    head = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    return lambda model, options: head + model.scores[3:] + [(token, 0.0) for token in tail]


def camembert(model: SpmFile, options: dict) -> Pieces:
    """The file's <s>, </s> and <unk> are kept out of use, beside CamemBERT's own."""
    head = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
    return [*head, *model.scores[1:], ("<mask>", 0.0)]


def pegasus(model: SpmFile, options: dict) -> Pieces:
    """The file's first two pieces, two masks, tokens held for pre-training up to ``offset``, then the rest."""
    held = ["<mask_1>", "<mask_2>", *(f"<unk_{i}>" for i in range(2, options["offset"]))]
    return [("<pad>", 0.0), ("</s>", 0.0), *((token, -100.0) for token in held), *model.scores[2:]]
