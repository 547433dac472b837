"""Pipelines of text give what doing it by hand gives, whatever stands beside a text, and say what is wrong with an input."""

import json

import pytest
import torch

import catalog
from catalog.__main__ import main
from catalog.errors import ConfigError, ProcessorError
from tests.catalog.pipelines.conftest import TEXTS

LABELS = ("bad", "good", "so so")


@pytest.fixture(scope="module")
def classifier(folder):
    return folder("bert", "sequence-classification", labels=LABELS)


def _logits(path, tokenizer, *texts, head=None):
    inputs = tokenizer(*([text] for text in texts), max_length=24)
    with torch.no_grad():
        return catalog.load(path, head)(**{k: torch.tensor(v) for k, v in inputs.items()})


def test_text_classification_is_what_it_is_by_hand(classifier, tokenizer):
    do = catalog.pipeline("text-classification", classifier, batch_size=2)
    found = do(list(TEXTS))
    for text, answer in zip(TEXTS, found, strict=True):  # of other lengths, in other batches
        shares = _logits(classifier, tokenizer, text).logits[0].softmax(-1)
        assert answer == {"label": LABELS[shares.argmax()], "score": pytest.approx(float(shares.max()), abs=1e-5)}
    assert do(TEXTS[0])["score"] == pytest.approx(found[0]["score"], abs=1e-6)
    every = do(TEXTS[0], top_k=None)
    assert {item["label"] for item in every} == set(LABELS) and sum(i["score"] for i in every) == pytest.approx(1)
    pair = do({"text": TEXTS[0], "text_pair": TEXTS[2]})
    both = _logits(classifier, tokenizer, TEXTS[0], TEXTS[2]).logits.softmax(-1)
    assert pair["score"] == pytest.approx(float(both.max()), abs=1e-5)
    lazy = do(text for text in TEXTS)
    assert [next(lazy)["label"], *(answer["label"] for answer in lazy)] == [answer["label"] for answer in found]


def test_problems_other_than_one_label(folder, tokenizer):
    path = folder("bert", "sequence-classification", labels=("stars",), problem="regression")
    logit = float(_logits(path, tokenizer, TEXTS[0]).logits)
    assert catalog.pipeline("text-classification", path)(TEXTS[0]) == {
        "label": "stars",
        "score": pytest.approx(logit, abs=1e-5),
    }
    path = folder("bert", "sequence-classification", labels=LABELS, problem="multi_label_classification")
    found = {i["label"]: i["score"] for i in catalog.pipeline("text-classification", path)(TEXTS[0], top_k=None)}
    wanted = _logits(path, tokenizer, TEXTS[0]).logits[0].sigmoid().tolist()
    assert found == pytest.approx(dict(zip(LABELS, wanted)), abs=1e-5)


def test_zero_shot_is_entailment_of_each_label(folder, tokenizer):
    path = folder("bert", "sequence-classification", labels=("contradiction", "neutral", "entailment"))
    do = catalog.pipeline("zero-shot-classification", path)
    found = do("a warm film", ["funny", "evening"], hypothesis_template="an {}")
    logits = torch.cat([_logits(path, tokenizer, "a warm film", f"an {w}").logits for w in ("funny", "evening")])
    assert dict(zip(found["labels"], found["scores"])) == pytest.approx(
        dict(zip(("funny", "evening"), logits[:, 2].softmax(0).tolist())), abs=1e-5
    )
    assert found["sequence"] == "a warm film" and found["scores"] == sorted(found["scores"], reverse=True)
    each = do("a warm film", "funny, evening", hypothesis_template="an {}", multi_label=True)
    assert dict(zip(each["labels"], each["scores"]))["funny"] == pytest.approx(
        float(logits[0, [0, 2]].softmax(0)[1]), abs=1e-5
    )
    with pytest.raises(ConfigError, match="label 'entailment'"):
        catalog.pipeline("zero-shot-classification", folder("bert", "sequence-classification", labels=LABELS))(
            "no", "a,b"
        )


def test_fill_mask(folder, tokenizer):
    path = folder("bert", "pre-training")
    do = catalog.pipeline("fill-mask", path)  # the masked LM inside a pre-training checkpoint
    (first, second) = do("a [MASK] and funny [MASK]", top_k=2)
    logits = _logits(path, tokenizer, "a [MASK] and funny [MASK]", head="masked-lm").logits[0]
    ids = tokenizer("a [MASK] and funny [MASK]")["input_ids"]
    for found, place in zip((first, second), (i for i, token in enumerate(ids) if token == tokenizer.mask_id)):
        shares = logits[place].softmax(-1)
        assert [item["token"] for item in found] == shares.topk(2).indices.tolist()
        assert found[0]["score"] == pytest.approx(float(shares.max()), abs=1e-5)
        assert found[0]["token_str"] == tokenizer.decode([found[0]["token"]])
    (word,) = do("a [MASK] film", targets=["film"])
    assert word["sequence"] == "a film film" and word["token"] == tokenizer.id_of("film")
    with pytest.raises(ProcessorError, match=r"no \[MASK\]"):
        do("a film")
    with pytest.raises(ProcessorError, match="has room for"):
        do("a film " * 30 + "[MASK]")


def test_features_and_choices(folder, tokenizer):
    path = folder("bert", "multiple-choice")
    (states, pooled) = (catalog.pipeline("feature-extraction", path)("a film", pooling=p) for p in ("none", "mean"))
    wanted = _logits(path, tokenizer, "a film", head="backbone").last_hidden_state[0]
    torch.testing.assert_close(torch.tensor(states), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.tensor(pooled), wanted.mean(0), atol=1e-5, rtol=1e-5)
    choices = ["a warm film", "no", "an evening in Paris"]
    found = catalog.pipeline("multiple-choice", path)({"prompt": "a", "choices": choices})
    inputs = tokenizer(["a"] * 3, choices, padding="longest")
    with torch.no_grad():
        logits = catalog.load(path)(**{k: torch.tensor([v]) for k, v in inputs.items()}).logits[0]
    assert dict(zip(found["choices"], found["scores"])) == pytest.approx(
        dict(zip(choices, logits.softmax(-1).tolist())), abs=1e-5
    )
    assert choices[found["index"]] == found["choices"][0]


def test_what_is_wrong_is_said(classifier, caplog):
    do = catalog.pipeline("text-classification", classifier)
    for given, message in (("  ", "input 0: an empty text"), (["no", 3], "input 1: expected a text, found int"),
                           ({"txt": "no"}, 'no "text"; it has \'txt\'')):  # fmt: skip
        with pytest.raises(ProcessorError, match=message):
            do(given)
    do("film " * 50)
    assert "cut to the 24 tokens" in caplog.text
    with pytest.raises(
        ConfigError, match=r"fill-mask needs masked-lm or pre-training\. This model serves: text-classification"
    ):
        catalog.pipeline("fill-mask", classifier)
    with pytest.raises(ConfigError, match="object-detection takes image"):
        catalog.pipeline("object-detection", classifier)
    with pytest.raises(ConfigError, match="did you mean 'fill-mask'"):
        catalog.pipeline("fill-masks", classifier)
    with pytest.raises(ConfigError, match="PyTorch only"):
        catalog.pipeline("text-generation", classifier, framework="flax")
    with pytest.raises(ConfigError, match="batch_size=0"):
        catalog.pipeline("text-classification", classifier, batch_size=0)


def test_on_the_command_line(classifier, folder, tmp_path, capsys):
    model = ["--model", str(classifier)]
    assert main(["run", "text-classification", *model, "no", "a film"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[2] for line in lines] == ["no", "a film"] and lines[0].split("\t")[0] in LABELS
    (tmp_path / "texts").write_text('no\n\n{"text": "a film", "text_pair": "no"}\n')
    assert (
        main(["run", "text-classification", *model, "--file", str(tmp_path / "texts"), "--set", "top_k=2", "--json"])
        == 0
    )
    read = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert read[1]["input"] == {"text": "a film", "text_pair": "no"} and len(read[1]["output"]) == 2
    for argv, code, message in (
        (["fill-mask", *model, "no"], 2, "This model serves"),
        (["text-classification", *model, "--set", "topk=2", "no"], 2, "topk"),
        (["text-classification", *model, "--file", "absent"], 3, "absent: cannot be read"),
        (["text-classification", *model, "{no"], 3, "INPUT 1: begins as JSON"),
    ):  # fmt: skip
        assert main(["run", *argv]) == code
        assert message in capsys.readouterr().err
    path = folder("bert", "question-answering")
    assert main(["run", "question-answering", "--model", str(path), "--context", TEXTS[1], "an evening"]) == 0
    score, start, end, answer = capsys.readouterr().out.rstrip("\n").split("\t")
    assert TEXTS[1][int(start) : int(end)] == answer and 0 < float(score) < 1
