"""Text comes in pieces that add up to the whole, however tokens cut characters."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog.errors import ConfigError
from catalog.generation.stop import Ends
from catalog.generation.stream import Pieces
from catalog.processors.text import build
from tests.support.golden import FOLDER

TOKENIZERS = FOLDER / "tokenizers"


def _made(name):
    case = json.loads((TOKENIZERS / f"{name}.json").read_text(encoding="utf-8"))
    if "merges" in case:
        files = {
            "vocab.json": json.dumps({token: i for i, token in enumerate(case["vocab"])}).encode(),
            "merges.txt": "\n".join(["#version: 0.2", *case["merges"], ""]).encode(),
        }
    elif "sentencepiece" in case:
        files = {"spiece.model": (TOKENIZERS / case["sentencepiece"]).read_bytes()}
    else:
        files = {"vocab.txt": "".join(f"{token}\n" for token in case["vocab"]).encode()}
    return build(case["class"].removesuffix("Fast"), files)


GPT2, BYT5 = _made("GPT2TokenizerFast"), build("ByT5Tokenizer", {})
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def _streamed(tokenizer, ids, before=()):
    pieces = Pieces(tokenizer, before)
    return [piece for piece in (*(pieces.push(i) for i in ids), pieces.end()) if piece]


@settings(deadline=None)
@given(TEXT)
def test_pieces_of_bytes_add_up(text):
    for tokenizer in (GPT2, BYT5):
        ids = tokenizer(text, special_tokens=False)["input_ids"]
        assert "".join(_streamed(tokenizer, ids)) == text


@settings(deadline=None)
@given(st.lists(st.integers(0, len(GPT2) - 1), max_size=30))
def test_pieces_of_any_tokens_add_up(ids):
    """Also where the bytes are no text at all."""
    assert "".join(_streamed(GPT2, ids)) == GPT2.decode(ids, skip_special_tokens=True, tidy=False)


@pytest.mark.parametrize("name", ["BertTokenizerFast", "XLNetTokenizerFast", "LlamaTokenizerFast@legacy_false"])
def test_pieces_of_words_add_up(name):
    tokenizer = _made(name)
    for text in ("Hello world, this is a test.", "un café für zwei 🙂🙂 done", "a  b\n\nc", ""):
        ids = tokenizer(text, special_tokens=False)["input_ids"]
        assert "".join(_streamed(tokenizer, ids)) == tokenizer.decode(ids, skip_special_tokens=True, tidy=False)


def test_a_character_is_held_until_it_is_whole():
    ids = BYT5("a🙂b", special_tokens=False)["input_ids"]
    pieces = Pieces(BYT5)
    assert [pieces.push(i) for i in ids] == ["a", "", "", "", "🙂", "b"]
    ids = GPT2("a🙂b", special_tokens=False)["input_ids"]
    cut = Pieces(GPT2)
    assert [cut.push(i) for i in ids[:3]] == ["a", "", ""] and cut.end() == "\ufffd" and cut.end() == ""


def test_the_first_piece_continues_the_prompt():
    tokenizer = _made("XLNetTokenizerFast")
    ids = tokenizer("this is a test", special_tokens=False)["input_ids"]
    whole = tokenizer.decode(ids, tidy=False)
    for cut in range(1, len(ids)):
        before = tokenizer.decode(ids[:cut], tidy=False)
        assert before + "".join(_streamed(tokenizer, ids[cut:], ids[:cut])) == whole


def test_only_the_last_tokens_are_decoded_again():
    class Counting:
        longest = 0

        def decode(self, ids, **_):
            self.longest = max(self.longest, len(ids))
            return BYT5.decode(ids, skip_special_tokens=True, tidy=False)

    counting = Counting()
    _streamed(counting, BYT5("é🙂" * 100, special_tokens=False)["input_ids"])
    assert counting.longest <= 8


@settings(deadline=None)
@given(TEXT, st.lists(st.text("ab🙂é. ", min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_text_stops_with_the_first_token_that_completes_a_string(text, strings):
    for tokenizer in (GPT2, BYT5):
        ids = tokenizer(text, special_tokens=False)["input_ids"]
        ends = Ends((), tuple(strings), tokenizer)
        stopped = [bool(ends(_column(i))[0]) for i in ids]
        texts = [tokenizer.decode(ids[: n + 1], tidy=False) for n in range(len(ids))]
        wanted = [any(string in text for string in strings) for text in texts]
        assert stopped[: stopped.index(True)] == wanted[: wanted.index(True)] if any(wanted) else not any(stopped)


def _column(token):
    return torch.tensor([token])


@pytest.fixture(scope="module")
def model():
    config = catalog.config("gpt2", vocab=len(BYT5), width=32, depth=2, heads=4, positions=64, bos_id=None, eos_id=1)
    return catalog.build("gpt2", config, head="causal-lm", seed=1).eval()


def test_stream_is_what_generate_writes(model):
    ids = [BYT5("é is", special_tokens=False)["input_ids"]]
    options = {"max_new_tokens": 40, "do_sample": True, "seed": 3}
    shown = []
    whole = catalog.generate(model, ids, tokenizer=BYT5, on_text=shown.append, **options).sequences[0]
    pieces = list(catalog.stream(model, BYT5, ids, **options))
    assert pieces == shown and len(pieces) > 1
    assert "".join(pieces) == BYT5.decode(whole[len(ids[0]) :].tolist(), skip_special_tokens=True, tidy=False)


def test_stop_strings_end_rows_by_themselves(model):
    ids = [[70, 71, 72], [80, 81, 82]]
    free = catalog.generate(model, ids, max_new_tokens=12, do_sample=True, seed=5, eos_token_id=()).sequences
    texts = [BYT5.decode(row[3:].tolist(), tidy=False) for row in free]
    stop = next(c for c in texts[0] if c not in texts[1] and c != "\ufffd")
    got = catalog.generate(
        model, ids, max_new_tokens=12, do_sample=True, seed=5, eos_token_id=(), tokenizer=BYT5, stop_strings=[stop],
        pad_token_id=0,
    ).sequences  # fmt: skip
    ended = next(n for n in range(4, 16) if stop in BYT5.decode(free[0, 3:n].tolist(), tidy=False))
    assert got[0].tolist() == free[0, :ended].tolist() + [0] * (15 - ended)
    assert torch.equal(got[1], free[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": BYT5, "on_text": print, "num_beams": 2}, "beams are chosen at the end"),
        ({"on_text": print}, "with its tokenizer"),
        ({"stop_strings": ["."]}, "give tokenizer="),
    ],
)
def test_refused(model, options, message):
    with pytest.raises(ConfigError, match=message):
        catalog.generate(model, [[70, 71]], max_new_tokens=2, **options)
    with pytest.raises(ConfigError, match="for one row"):
        list(catalog.stream(model, BYT5, [[70], [71]], max_new_tokens=2))
    with pytest.raises(ConfigError, match="a stream has no beams"):
        list(catalog.stream(model, BYT5, [[70]], max_new_tokens=2, num_beams=2))
