"""Vocabulary files: the published real ones load, byte-level text comes back, broken files are named."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog.errors import ProcessorError
from catalog.processors.text import Tokenizer, build

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "golden" / "tokenizers"
REAL = ROOT.parent / "shared" / "data" / "tokenizers"
GPT2 = json.loads((GOLDEN / "GPT2TokenizerFast.json").read_text(encoding="utf-8"))
GPT2_FILES = {
    "vocab.json": json.dumps({token: i for i, token in enumerate(GPT2["vocab"])}).encode(),
    "merges.txt": "\n".join(["#version: 0.2", *GPT2["merges"], ""]).encode(),
}
SPM = (GOLDEN / "spm_unigram.model").read_bytes()

REAL_ONES = [  # folder, class, size, text, its ids
    ("gpt2", "GPT2Tokenizer", 50257, "Hello, my dog is cute", [15496, 11, 616, 3290, 318, 13779]),
    ("clip", "CLIPTokenizer", 49408, "a photo of a cat", [49406, 320, 1125, 539, 320, 2368, 49407]),
    ("t5", "T5Tokenizer", 32100, "translate English to German: Hello", [13959, 1566, 12, 2968, 10, 8774, 1]),
    ("whisper", "WhisperTokenizer", 51865, " Hello world.", [50258, 50363, 2425, 1002, 13, 50257]),
    ("wav2vec2", "Wav2Vec2CTCTokenizer", 32, "HELLO IT'S", [11, 5, 15, 15, 8, 4, 10, 6, 27, 12]),
]


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "name", "size", "text", "ids"), REAL_ONES)
def test_real_vocabularies_load(folder, name, size, text, ids, tmp_path):
    if not (REAL / folder).is_dir():
        pytest.skip(f"the published vocabulary is not beside this repository: shared/data/tokenizers/{folder}")
    tokenizer = Tokenizer.load(REAL / folder, name)
    assert len(tokenizer) == size and tokenizer(text)["input_ids"] == ids
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path)(text)["input_ids"] == ids


BYTE_LEVEL = [build("GPT2Tokenizer", GPT2_FILES), build("ByT5Tokenizer", {})]


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_byte_level_text_comes_back(text):
    for tokenizer in BYTE_LEVEL:
        assert tokenizer.decode(tokenizer(text, special_tokens=False)["input_ids"], tidy=False) == text


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.integers(2, 9), st.integers(0, 3))
def test_windows_cover_the_text(text, length, stride):
    tokenizer = BYTE_LEVEL[0]
    stride = min(stride, length - 1)
    whole = tokenizer(text)["input_ids"]
    rows = tokenizer(text, max_length=length, stride=stride, windows=True)["input_ids"]
    assert rows[0] + [i for row in rows[1:] for i in row[stride:]] == whole
    assert all(len(row) == length for row in rows[:-1]) and len(rows[-1]) <= length


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=4), st.sampled_from(["left", "right"]), st.integers(1, 8))
def test_padding_only_pads(texts, side, step):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    tokenizer = BYTE_LEVEL[1].having(padding_side=side)
    rows = tokenizer(texts, padding="longest", multiple_of=step)
    plain = tokenizer.ids(texts).input_ids
    assert {len(row) % step for row in rows["input_ids"]} == {0} and len({len(row) for row in rows["input_ids"]}) == 1
    for row, mask, ids in zip(rows["input_ids"], rows["attention_mask"], plain):
        assert [i for i, real in zip(row, mask) if real] == ids
        assert mask == sorted(mask, reverse=side == "right")


def written(folder, name, files):
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


BROKEN = {
    "merges missing": ("GPT2Tokenizer", {"vocab.json": GPT2_FILES["vocab.json"]}, "no vocabulary file merges.txt"),
    "merges of three": ("GPT2Tokenizer", GPT2_FILES | {"merges.txt": b"#version: 0.2\nh e\na b c\n"},
                        "merges.txt:3: expected two pieces .* found 'a b c'"),
    "merges unknown": ("GPT2Tokenizer", GPT2_FILES | {"merges.txt": "h e\n☃ e\n".encode()},
                       "merges.txt: does not fit the vocabulary"),
    "json cut": ("GPT2Tokenizer", GPT2_FILES | {"vocab.json": GPT2_FILES["vocab.json"][:-9]}, "vocab.json:1: not JSON"),
    "json a list": ("GPT2Tokenizer", GPT2_FILES | {"vocab.json": b'["a"]'}, "vocab.json: expected an object .* found list"),
    "id shared": ("GPT2Tokenizer", GPT2_FILES | {"vocab.json": b'{"a": 0, "b": 0}'}, "id 0 belongs to 'a' and to 'b'"),
    "id no number": ("GPT2Tokenizer", GPT2_FILES | {"vocab.json": b'{"a": "0"}'}, "token 'a' has id '0'; expected an integer"),
    "model missing": ("T5Tokenizer", {}, "no vocabulary file spiece.model or sentencepiece.bpe.model"),
    "model cut": ("T5Tokenizer", {"spiece.model": SPM[:-1000]}, "spiece.model: not a SentencePiece model, or truncated"),
    "model is text": ("T5Tokenizer", {"spiece.model": b"<html>not found</html>"}, "spiece.model: not a SentencePiece model"),
    "model empty": ("T5Tokenizer", {"spiece.model": b""}, "spiece.model: no pieces in it"),
    "model of another kind": ("LlamaTokenizer", {"tokenizer.model": SPM}, "tokenizer.model: a unigram model; expected BPE"),
    "tiktoken": ("WhisperTokenizer", {"multilingual.tiktoken": b"IQ== 0\nIg== one\n"}, "tiktoken:2: expected base64"),
    "gzip cut": ("CLIPTokenizer", {"bpe_simple_vocab_16e6.txt.gz": gzip.compress(b"x\n" * 99)[:-9]}, "not a complete gzip"),
    "ctc": ("Wav2Vec2CTCTokenizer", {"vocab.json": b"[]"}, "vocab.json: expected an object of token: id, found list"),
    "marked": ("PhobertTokenizer", {"vocab.txt": b"a 1\n", "bpe.codes": b"a b 3 4\n"}, "bpe.codes:1: expected two pieces"),
    "engine": ("PreTrainedTokenizerFast", {"tokenizer.json": b'{"version": "1.0"}'}, "tokenizer.json: not a tokenizer of the"),
    "no engine": ("PreTrainedTokenizerFast", {}, "is read from tokenizer.json, which the folder does not hold"),
    "added gap": ("GPT2Tokenizer", GPT2_FILES | {"added_tokens.json": b'{"<x>": 900}'}, "'<x>' should have id 900; after the"),
}  # fmt: skip


WRONG_SETTINGS = [
    ({"padding_side": "middle"}, "tokenizer_config.json: padding_side is 'middle'; expected 'left' or 'right'"),
    ({"model_max_length": "512"}, "tokenizer_config.json: model_max_length is '512'; expected int or float"),
    ({"add_prefix_space": "no"}, "tokenizer_config.json: add_prefix_space is 'no'; expected bool"),
    ({"additional_special_tokens": "<x>"}, "tokenizer_config.json: additional_special_tokens is '<x>'; expected list"),
    ({"added_tokens_decoder": {"x": {}}}, "tokenizer_config.json: added_tokens_decoder holds 'x': {}; expected an id"),
    ({"added_tokens_decoder": {"300": {}}}, "added_tokens_decoder 300 is None; expected a string or an object"),
    ({"bos_token": ["<s>"]}, "bos_token is .'<s>'.; expected a string or an object with 'content'"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG_SETTINGS)
def test_wrong_settings_are_named(settings, message, tmp_path):
    written(tmp_path, "GPT2Tokenizer", GPT2_FILES)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"} | settings))
    with pytest.raises(ProcessorError, match=message):
        Tokenizer.load(tmp_path)


def test_null_in_a_file_is_the_default(tmp_path):
    nothing = dict.fromkeys(("pad_token", "src_lang", "tgt_lang", "model_max_length", "additional_special_tokens"))
    written(
        tmp_path, "MBartTokenizer", {"sentencepiece.bpe.model": SPM, "special_tokens_map.json": b'{"pad_token": null}'}
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MBartTokenizer"} | nothing))
    made = Tokenizer.load(tmp_path)
    assert made("hello")["input_ids"][-1] == made.id_of("en_XX") and made.pad_id == 1


def test_a_class_that_is_not_here_is_read_from_its_engine(tmp_path):
    gpt2 = build("GPT2Tokenizer", GPT2_FILES)
    written(tmp_path, "NougatTokenizerFast", {"tokenizer.json": gpt2.engine.to_str().encode()})
    made = Tokenizer.load(tmp_path)
    assert made.traits.name == "NougatTokenizer" and made.ids(["hello"]).input_ids == gpt2.ids(["hello"]).input_ids
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ProcessorError, match="no tokenizer class 'NougatTokenizer' here"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(case, tmp_path):
    name, files, message = BROKEN[case]
    with pytest.raises(ProcessorError, match=message):
        Tokenizer.load(written(tmp_path, name, files))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(SPM) - 1))
def test_no_bytes_crash_the_model_reader(noise, at):
    for content in (noise, SPM[:at], SPM[:at] + noise + SPM[at:]):
        try:
            build("T5Tokenizer", {"spiece.model": content})
        except ProcessorError as error:
            assert "spiece.model" in str(error)


def test_a_tokenizer_without_a_class_of_its_own(tmp_path):
    gpt2 = build("GPT2Tokenizer", GPT2_FILES)
    written(tmp_path, "PreTrainedTokenizerFast", {"tokenizer.json": gpt2.engine.to_str().encode()})
    assert Tokenizer.load(tmp_path).ids(["hello world"]).input_ids == gpt2.ids(["hello world"]).input_ids


def test_original_names_become_published_ones(tmp_path):
    written(
        tmp_path, "GPT2Tokenizer", {"encoder.json": GPT2_FILES["vocab.json"], "vocab.bpe": GPT2_FILES["merges.txt"]}
    )
    tokenizer = Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} >= {"vocab.json", "merges.txt", "tokenizer.json"}


def test_options_override_the_files(tmp_path):
    gpt2 = build("GPT2Tokenizer", GPT2_FILES)
    gpt2.save(tmp_path)
    spaced = Tokenizer.load(tmp_path, options={"add_prefix_space": True})
    assert spaced.tokens("world") == gpt2.tokens(" world") != gpt2.tokens("world")
    with pytest.raises(ProcessorError, match="no option 'add_prefix'; did you mean 'add_prefix_space'"):
        Tokenizer.load(tmp_path, options={"add_prefix": True})


def test_processor_of_a_folder(tmp_path):
    build("GPT2Tokenizer", GPT2_FILES).save(tmp_path)
    assert (
        catalog.processor(tmp_path).ids(["a"]).input_ids
        == catalog.processor(tmp_path, "GPT2Tokenizer").ids(["a"]).input_ids
    )
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    both = catalog.processor(tmp_path)
    assert both.tokenizer.traits.name == "GPT2Tokenizer" and type(both.features).__name__ == "ViTImageProcessor"
    both.save(tmp_path / "again")
    assert catalog.processor(tmp_path / "again", "ViTImageProcessor").config == both.features.config
    with pytest.raises(
        ProcessorError, match="no processor class 'ViTImageProcesor' here; did you mean 'ViTImageProcessor'"
    ):
        catalog.processor(tmp_path, "ViTImageProcesor")


def test_what_a_training_run_left_in_the_engine_is_forgotten(tmp_path):
    gpt2 = build("GPT2Tokenizer", GPT2_FILES)
    wanted = gpt2.ids(["hello world", "a"]).input_ids
    gpt2.engine.enable_padding(length=32)
    gpt2.engine.enable_truncation(2)
    written(tmp_path, "GPT2Tokenizer", {"tokenizer.json": gpt2.engine.to_str().encode()})
    assert Tokenizer.load(tmp_path).ids(["hello world", "a"]).input_ids == wanted


def test_input_names_of_the_file_are_followed(tmp_path):
    build("GPT2Tokenizer", GPT2_FILES).save(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert list(Tokenizer.load(tmp_path)("hello")) == settings["model_input_names"]


def test_split_words_need_a_blank_before_them(tmp_path):
    build("GPT2Tokenizer", GPT2_FILES).save(tmp_path)
    with pytest.raises(ProcessorError, match=r"load it with options=.'add_prefix_space': True"):
        Tokenizer.load(tmp_path)([["hello", "world"]])
    spaced = Tokenizer.load(tmp_path, options={"add_prefix_space": True})
    assert spaced([["hello", "world"]], extra=["word_ids"])["word_ids"] == [[0, 0, 1]]


def test_no_folder(tmp_path):
    with pytest.raises(ProcessorError, match="nowhere: no such folder"):
        Tokenizer.load(tmp_path / "nowhere")


def test_a_language_that_is_not_there():
    mbart = build("MBartTokenizer", {"spiece.model": SPM})
    with pytest.raises(
        ProcessorError, match="puts 'ro_R' around a text, which the vocabulary lacks; did you mean 'ro_RO'"
    ):
        mbart.configured(src_lang="ro_R")
