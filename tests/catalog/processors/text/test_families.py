"""What single families add to encoding and decoding: languages, sentinels, infilling, speech prefixes, CTC frames."""

import json
from pathlib import Path

import pytest

from catalog.errors import ProcessorError
from catalog.processors.text import NAMES, Tokenizer, build
from catalog.processors.text.families import ALIASES, FAMILIES

GOLDEN = Path(__file__).parents[3] / "golden" / "tokenizers"


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def spm(name, file="spm_unigram.model", **options):
    return build(name, {"spiece.model": (GOLDEN / file).read_bytes()}, options)


def test_every_listed_class_has_a_family():
    assert set(NAMES) == set(FAMILIES) | set(ALIASES)


@pytest.mark.parametrize("name", ["MBartTokenizer", "MBart50Tokenizer"])
def test_languages_move_the_prefix_or_suffix(name):
    case = golden(f"{name}Fast")
    english = spm(name, src_lang="en_XX", tgt_lang="ro_RO")
    target = english.configured(src_lang="ro_RO")
    assert [target(row["text"])["input_ids"] for row in case["target"]] == [row["ids"] for row in case["target"]]
    text = case["texts"][0]["text"]
    for row in case["languages"]:
        other = english.configured(src_lang=row["src_lang"])
        assert other(text)["input_ids"] == row["ids"] and other.id_of(row["src_lang"]) == row["id"]
    assert english(text)["input_ids"] == case["src_tgt"]["input_ids"]  # the first is not changed by its copies


def test_sentinels_are_found_anywhere():
    t5 = spm("T5Tokenizer", "t5_spiece.model")
    for text, ids in golden("T5TokenizerFast")["sentinels"]:
        assert t5(text)["input_ids"] == ids


def test_infilling():
    llama = spm("CodeLlamaTokenizer", "spm_bpe_bytes.model")
    for text, ids in golden("CodeLlamaTokenizerFast")["infill"]:
        assert llama(text)["input_ids"] == ids
    mixed = llama(["x <FILL_ME> y", "x", "<FILL_ME>"])["input_ids"]
    assert mixed == [llama(text)["input_ids"] for text in ("x <FILL_ME> y", "x", "<FILL_ME>")]
    assert llama("x ", " y") == llama("x <FILL_ME> y")
    first = llama.configured(suffix_first=True)
    prefix, suffix, middle = (llama.id_of(f"▁<{part}>") for part in ("PRE", "SUF", "MID"))
    assert [i for i in first("x <FILL_ME> y")["input_ids"] if i in (prefix, suffix, middle)] == [prefix, suffix, middle]
    with pytest.raises(ProcessorError, match="holds <FILL_ME> 2 times"):
        llama("a <FILL_ME> b <FILL_ME>")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    (folder / "multilingual.tiktoken").write_bytes((GOLDEN / "whisper_multilingual.tiktoken").read_bytes())
    return Tokenizer.load(folder, "WhisperTokenizer")


def test_whisper_prefix(whisper):
    case = golden("WhisperTokenizerFast")
    for row in case["prefix"]:
        if "error" in row:
            with pytest.raises(ProcessorError, match="is not one of Whisper's 99"):
                whisper.configured(**row["kwargs"])
            continue
        made = whisper.configured(**row["kwargs"])
        assert made.prefix_ids() == row["prefix_tokens"]
        assert made(case["texts"][0]["text"])["input_ids"][: len(row["prefix_tokens"])] == row["prefix_tokens"]
    for kwargs, forced in case["decoder_prompt_ids"]:
        kwargs = dict(kwargs)
        made = whisper.configured(predict_timestamps=not kwargs.pop("no_timestamps", True), **kwargs)
        assert [list(pair) for pair in made.forced_ids()] == forced
    with pytest.raises(ProcessorError, match="did you mean 'transcribe'"):
        whisper.configured(task="transcript")
    with pytest.raises(ProcessorError, match="did you mean 'language'"):
        whisper.configured(languag="en")


def test_whisper_prompt(whisper):
    for text, ids in golden("WhisperTokenizerFast")["prompt"]:
        if isinstance(ids, str):
            with pytest.raises(ProcessorError, match=r"the prompt holds the special token <\|"):
                whisper.prompt_ids(text)
        else:
            assert whisper.prompt_ids(text) == ids


def test_whisper_timestamps(whisper):
    for row in golden("WhisperTokenizerFast")["timestamps"]:
        ids = row["ids"]
        assert whisper.decode(ids) == row["plain"]
        assert whisper.decode(ids, skip_special_tokens=True) == row["skip"]
        assert whisper.decode(ids, timestamps=True) == row["with_timestamps"]
        assert whisper.decode(ids, skip_special_tokens=True, timestamps=True) == row["skip_with_timestamps"]
        segments = [part | {"timestamp": list(part["timestamp"])} for part in whisper.segments(ids)]
        assert segments == row["offsets"]


def test_whisper_languages(whisper):
    for place, code in enumerate(golden("WhisperTokenizerFast")["languages"]):
        assert whisper.id_of(f"<|{code}|>") == 50259 + place


def ctc(name, **options):
    vocab = {token: i for i, token in enumerate(golden(name)["vocab"])}
    return build(name, {"vocab.json": json.dumps(vocab).encode()}, options)


def test_ctc_letters():
    case, letters = golden("Wav2Vec2CTCTokenizer"), ctc("Wav2Vec2CTCTokenizer")
    for text, ids in case["encode"]:
        assert letters(text)["input_ids"] == ids
    for ids, text, words, ungrouped in case["decode"]:
        assert letters.decode(ids) == text and letters.decode(ids, group=False) == ungrouped
        assert letters.words(ids, skip_special_tokens=True) == words


def test_ctc_blank_keeps_equal_letters_apart():
    letters = ctc("Wav2Vec2CTCTokenizer")
    blank, h, e, l, o = (letters.id_of(token) for token in ("<pad>", "H", "E", "L", "O"))  # noqa: E741
    frames = [h, e, e, l, blank, l, l, o]
    assert letters.decode(frames) == letters.decode(frames, skip_special_tokens=True) == "HELLO"
    assert letters.words(frames) == [{"word": "HELLO", "start_offset": 0, "end_offset": 8}]


def test_ctc_upper_cases_on_request():
    assert ctc("Wav2Vec2CTCTokenizer", do_lower_case=True).tokens("ab ß") == ["A", "B", "|", "S", "S"]


def test_ctc_vocabulary_of_several_languages(tmp_path):
    vocab = {
        "eng": {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5},
        "fra": {"<unk>": 0, "<pad>": 1, "a": 2},
    }
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    load = lambda language: Tokenizer.load(tmp_path, "Wav2Vec2CTCTokenizer", {"target_lang": language})  # noqa: E731
    assert load("eng")("a")["input_ids"] == [5] and load("fra")("a")["input_ids"] == [2]
    with pytest.raises(ProcessorError, match="target_lang='deu' is not among its 2 languages: eng, fra"):
        load("deu")


def test_ctc_phonemes():
    case, phonemes = golden("Wav2Vec2PhonemeCTCTokenizer"), ctc("Wav2Vec2PhonemeCTCTokenizer", do_phonemize=False)
    for text, ids in case["phonemes"]:
        assert phonemes(text)["input_ids"] == ids
    for ids, text, spans in case["decode"]:
        assert phonemes.decode(ids) == text and phonemes.spans(ids) == spans
    with pytest.raises(ProcessorError, match="needs an espeak backend"):
        ctc("Wav2Vec2PhonemeCTCTokenizer")("hello")
