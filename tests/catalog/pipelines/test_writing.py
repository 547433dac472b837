"""Pipelines that write give what generation gives of each text alone, and its pieces while it is written."""

import json

import pytest
import torch

import catalog
from catalog.errors import ConfigError
from catalog.processors.text import build
from tests.support.golden import FOLDER

PROMPTS = ["the", "a longer text than the other", "no"]
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)


@pytest.fixture(scope="module")
def byte_pairs():
    case = json.loads((FOLDER / "tokenizers/GPT2TokenizerFast.json").read_text(encoding="utf-8"))
    vocab = {token: i for i, token in enumerate(case["vocab"])}
    return build(
        "GPT2Tokenizer", {"vocab.json": json.dumps(vocab).encode(), "merges.txt": "\n".join(case["merges"]).encode()}
    )


@pytest.fixture(scope="module")
def writer(folder, byte_pairs):
    sizes = {
        "vocab": len(byte_pairs),
        "width": 16,
        "depth": 1,
        "heads": 2,
        "positions": 128,
        "bos_id": None,
        "eos_id": None,
    }
    return folder("gpt2", "causal-lm", byte_pairs, **sizes)


def _alone(path, tokenizer, text):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    made = catalog.generate(catalog.load(path), ids, max_new_tokens=8, eos_token_id=tokenizer.eos_id).sequences
    return tokenizer.decode(made[0, ids.shape[1] :].tolist(), skip_special_tokens=True)


def test_text_generation(writer, byte_pairs):
    do = catalog.pipeline("text-generation", writer)
    found = do(PROMPTS, max_new_tokens=8)
    assert found == [{"generated_text": text + _alone(writer, byte_pairs, text)} for text in PROMPTS]
    assert do("no", max_new_tokens=8, full_text=False)["generated_text"] == _alone(writer, byte_pairs, "no")
    assert "".join(do.stream("no", max_new_tokens=8)) == _alone(writer, byte_pairs, "no")
    drafts = do(PROMPTS, max_new_tokens=3, do_sample=True, num_return_sequences=2, seed=1)
    assert [len(of_one) for of_one in drafts] == [2, 2, 2]
    assert all(d["generated_text"].startswith(text) for text, of_one in zip(PROMPTS, drafts) for d in of_one)
    with pytest.raises(ConfigError, match="did you mean 'max_new_tokens'"):
        do("no", max_new_token=8)


def test_conversations(folder, byte_pairs):
    sizes = {
        "vocab": len(byte_pairs),
        "width": 16,
        "depth": 1,
        "heads": 2,
        "positions": 128,
        "bos_id": None,
        "eos_id": None,
    }
    path = folder("gpt2", "causal-lm", byte_pairs.having(chat_template=TEMPLATE), **sizes)
    do = catalog.pipeline("text-generation", path)
    wanted = _alone(path, byte_pairs, "<user>no>")
    turns = [{"role": "user", "content": "no"}]
    assert do("no", max_new_tokens=8) == do(turns, max_new_tokens=8) == {"generated_text": wanted}
    assert do([turns, turns], max_new_tokens=8) == [{"generated_text": wanted}] * 2
    assert "".join(do.stream(turns, max_new_tokens=8)) == wanted
    assert do("no", chat=False, max_new_tokens=8)["generated_text"] == "no" + _alone(path, byte_pairs, "no")


@pytest.mark.parametrize(("task", "key"), [("summarization", "summary_text"), ("translation", "translation_text")])
def test_rewriting(folder, task, key):
    tokenizer = build("ByT5Tokenizer", {})
    told = {"task_specific_params": {"summarization": {"prefix": "sum: "}, "translation_en_to_de": {"prefix": "de: "}}}
    sizes = {"vocab": 384, "width": 16, "depth": 1, "heads": 2, "hidden": 32, "head_dim": 8, "extra": told}
    path = folder("t5", "seq2seq-lm", tokenizer, **sizes)
    found = catalog.pipeline(task, path)(PROMPTS, max_new_tokens=8)
    prefix = {"summarization": "sum: ", "translation": "de: "}[task]
    for text, answer in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([tokenizer(prefix + text)["input_ids"]])
        made = catalog.generate(catalog.load(path), ids, max_new_tokens=8).sequences[0].tolist()
        assert answer == {key: tokenizer.decode(made, skip_special_tokens=True).strip()}
    if task == "translation":
        with pytest.raises(ConfigError, match="has translation_en_to_de"):
            catalog.pipeline(task, path)("no", src_lang="en", tgt_lang="fr")
