"""WordPiece: the longest piece of the vocabulary first, word by word, as BERT has it.

Schuster and Nakajima, 2012, "Japanese and Korean Voice Search"; Wu et al., 2016 (arXiv:1609.08144).
"""

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from catalog.errors import ProcessorError
from catalog.processors.text.family import ANGLES, PLAIN, TYPED, Family, always
from catalog.processors.text.vocabularies import Source, from_lines


def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.txt -> engine."""
    vocab = from_lines(source, "vocab.txt")
    if special["unk_token"] not in vocab:
        raise ProcessorError(
            f"{source.path('vocab.txt')}: no unknown token {special['unk_token']!r} in {len(vocab)} lines; "
            f"WordPiece needs it for words it cannot split"
        )
    return engine(models.WordPiece(vocab, unk_token=special["unk_token"], max_input_chars_per_word=100), options)


def engine(model: models.WordPiece, options: dict) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizer(options)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    return made


def normalizer(options: dict):
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )


def train(
    texts, vocab_size: int, *, lower=True, min_count=2, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
) -> list[str]:
    """Texts -> pieces in id order: special tokens, inner characters, first characters, then joined pieces.

    A pair is joined while it occurs ``min_count`` times and there is room. The same texts give the same list.
    """
    texts = list(texts)
    made = engine(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100), {"do_lower_case": lower})
    # The library numbers inner characters in the order of a randomly seeded hash map, and breaks ties by number. Naming
    # them beforehand, as if they were special tokens, fixes the numbers and with them the whole result.
    inner = {"##" + letter for word in words_of(made, texts) for letter in word[1:]}
    fixed = [*special, *sorted(inner)]
    made.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=vocab_size, min_frequency=min_count, special_tokens=fixed, show_progress=False
        ),
    )
    vocab = made.get_vocab()
    if len(vocab) > vocab_size:
        raise ProcessorError(
            f"vocab_size={vocab_size} is less than the {len(vocab)} special tokens and characters of the text"
        )
    return sorted(vocab, key=vocab.get)


def words_of(made: tokenizers.Tokenizer, texts) -> set[str]:
    """The different words of the texts after normalisation."""
    found = set()
    for text in texts:
        found.update(word for word, _ in made.pre_tokenizer.pre_tokenize_str(made.normalizer.normalize_str(text)))
    return found


BRACKETS = {
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
}  # fmt: skip
BERT = {
    "build": build,
    "files": (("vocab.txt",),),
    "special": BRACKETS,
    "template": always("cls $A sep", "cls $A sep $B:1 sep:1"),
    "inputs": TYPED,
    "options": {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
    "swallow_left": (),
}
MPNET = {
    "special": ANGLES | {"unk_token": "[UNK]"},
    "template": always("cls $A sep", "cls $A sep sep $B sep"),
    "inputs": PLAIN,
    "swallow_left": ("mask_token",),
}
FUNNEL = {
    "special": ANGLES | {"sep_token": "<sep>", "cls_token": "<cls>"},
    "template": always("cls:2 $A sep", "cls:2 $A sep $B:1 sep:1"),
}

FAMILIES = {
    **dict.fromkeys(
        ("Bert", "ConvBert", "DPRContextEncoder", "DPRQuestionEncoder", "Electra", "LayoutLM", "Lxmert", "MobileBert",
         "SqueezeBert"),
        Family(**BERT),
    ),
    "DistilBert": Family(**BERT | {"inputs": PLAIN}),
    "Funnel": Family(**BERT | FUNNEL),
    "MPNet": Family(**BERT | MPNET),
}  # fmt: skip
