"""WordPiece: the published files, learning a vocabulary, files that are broken, texts that cannot be used."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import ProcessorError
from catalog.processors.text import Tokenizer, train_wordpiece

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "golden" / "tokenizers"
REAL = ROOT.parent / "shared" / "data" / "tokenizers" / "bert_base_uncased"
PIECES = json.loads((GOLDEN / "BertTokenizerFast.json").read_text(encoding="utf-8"))["vocab"]
TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a quick dog, a lazy fox",
    "the dog jumped; the fox was quick",
] * 4


def folder_of(tmp_path, content, **settings):
    (tmp_path / "vocab.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | settings))
    return tmp_path


@pytest.fixture
def bert(tmp_path):
    return Tokenizer.load(folder_of(tmp_path, "\n".join(PIECES)))


def test_the_real_vocabulary_loads():
    if not REAL.is_dir():
        pytest.skip(f"the published vocabulary is not beside this repository: {REAL.relative_to(ROOT.parent)}")
    bert = Tokenizer.load(REAL, "BertTokenizer")
    assert len(bert) == 30522
    assert bert("Hello, world! Unbelievable.")["input_ids"] == [101, 7592, 1010, 2088, 999, 23653, 1012, 102]
    assert bert.special_ids == {"unk_token": 100, "sep_token": 102, "pad_token": 0, "cls_token": 101, "mask_token": 103}


def test_bulk_path_gives_the_ids_of_the_full_call(bert):
    texts, pairs = ["Hello, World!", "", "the fox [MASK]"], ["the dog", "hello", ""]
    full, bulk = bert(texts, pairs, max_length=6), bert.ids(texts, pairs, max_length=6)
    assert bulk.input_ids == full["input_ids"] and bulk.token_type_ids == full["token_type_ids"]
    assert bert.ids(texts).input_ids == [bert(text)["input_ids"] for text in texts]


def test_words_already_split_keep_their_numbers(bert):
    got = bert([["unbelievable", "fox", "!"]], extra=["word_ids"])
    assert got["word_ids"] == [[None, 0, 0, 0, 1, 2, None]]
    assert bert([("fox", "dog")]) == bert([["fox", "dog"]]) == bert(["fox dog"])  # two words are no pair


def test_learning_is_repeatable_and_covers_its_text():
    made, again = train_wordpiece(TEXTS, 60), train_wordpiece(TEXTS, 60)
    assert made.vocabulary() == again.vocabulary() and made.fingerprint == again.fingerprint
    assert list(made.vocabulary())[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(made) <= 60 and made.id_of("the") != made.unk_id
    assert made.decode(made("the quick dog")["input_ids"], skip_special_tokens=True) == "the quick dog"


def test_learning_refuses_a_size_below_the_alphabet():
    with pytest.raises(ProcessorError, match="vocab_size=20 is less than the"):
        train_wordpiece(TEXTS, 20)


def test_saved_and_loaded_gives_the_same(bert, tmp_path):
    bert.add_tokens(["<first>", "<second>"])
    bert.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again.fingerprint == bert.fingerprint
    (tmp_path / "saved" / "tokenizer.json").unlink()  # the older layout: vocab.txt and added_tokens.json
    older = Tokenizer.load(tmp_path / "saved")
    text = "Hello <second> unbelievable[MASK] <first>!"
    assert bert.id_of("<second>") == len(PIECES) + 1
    assert again(text) == bert(text) == older(text)


def test_survives_pickling(bert):
    assert pickle.loads(pickle.dumps(bert))("the fox") == bert("the fox")


def test_fingerprint_changes_with_what_decides_ids(bert, tmp_path):
    before = bert.fingerprint
    cased = Tokenizer.load(folder_of(tmp_path, "\n".join(PIECES), do_lower_case=False))
    assert cased.fingerprint != before
    bert.add_tokens(["new"])
    assert bert.fingerprint != before


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_offsets_slice_the_text(text):
    bert = _bert()
    got = bert(text, extra=["offset_mapping", "special_tokens_mask"])
    ends = [pair for pair, special in zip(got["offset_mapping"], got["special_tokens_mask"]) if not special]
    assert all(0 <= start < end <= len(text) for start, end in ends)
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    for (start, end), i in zip(got["offset_mapping"], got["input_ids"]):
        piece = bert.token_of(i).removeprefix("##")
        if piece.isascii() and piece.isalnum() and text[start:end].isascii():
            assert text[start:end].lower() == piece


def _bert(cache=[]):  # noqa: B006 - built once for all examples
    if not cache:
        from catalog.processors.text.files import build

        cache.append(build("BertTokenizer", {"vocab.txt": "\n".join(PIECES).encode()}))
    return cache[0]


BROKEN = {
    "no file": (None, {}, r"no vocabulary file vocab.txt; it holds tokenizer_config.json"),
    "empty": ("", {}, r"vocab.txt: no token in it"),
    "repeated": ("[PAD]\n[UNK]\nfox\ndog\nfox\n", {}, r"vocab.txt:5: token 'fox' stands at line 3 already"),
    "not utf-8": (b"[UNK]\nfox\n\xff\xfe\n", {}, r"vocab.txt:3: not UTF-8; byte 0xff"),
    "no unknown": ("[PAD]\nfox\n", {}, r"no unknown token '\[UNK\]' in 2 lines"),
    "class": ("[UNK]\n", {"tokenizer_class": "BertTokeniser"}, r"no tokenizer class 'BertTokeniser'.*'BertTokenizer'"),
    "role": ("[UNK]\n", {"mask_token": 3}, r"mask_token is 3; expected a string"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(case, tmp_path):
    content, settings, message = BROKEN[case]
    folder_of(tmp_path, content or "", **settings)
    if content is None:
        (tmp_path / "vocab.txt").unlink()
    with pytest.raises(ProcessorError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"])
def test_truncated_json_is_named(bert, name, tmp_path):
    bert.save(tmp_path / "saved")
    path = tmp_path / "saved" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ProcessorError, match=name):
        Tokenizer.load(tmp_path / "saved")


def test_a_folder_without_a_class_says_so(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\n")
    with pytest.raises(ProcessorError, match="nothing names the tokenizer's class"):
        Tokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    assert Tokenizer.load(tmp_path).traits.name == "BertTokenizer"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t(["fox", None]), "text 1 is None: expected a string"),
        (lambda t: t(["fox", "a \ud800"]), "text 1 is"),
        (lambda t: t(["fox"], ["a", "b"]), "1 texts but 2 pairs"),
        (lambda t: t("the quick brown fox", max_length=1), "max_length=1 leaves -1 tokens"),
        (lambda t: t("the quick brown fox", max_length=6, stride=4, windows=True), "more than the stride of 4"),
        (lambda t: t(["a", "the quick brown fox"], ["b", "dog"], max_length=6, truncation="only_second"),
         "text 1 .* cannot be cut to max_length=6 by shortening the second text"),
        (lambda t: t("fox", max_length=4, truncation="longest"), "truncation='longest' is not known"),
        (lambda t: t("fox", padding="max_length"), "padding='max_length' needs max_length"),
        (lambda t: t("fox", extra=["offsets"]), "is not known; one of offset_mapping"),
        (lambda t: t.decode([2, 100000]), "id 100000 at place 1 is not in the vocabulary"),
        (lambda t: t.with_special(pad_token="<none>"), "pad_token='<none>' is not in the vocabulary"),
        (lambda t: t.having(sides="left"), "no trait"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(bert, call, message):
    with pytest.raises(ProcessorError, match=message):
        call(bert)
