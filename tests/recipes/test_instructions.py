"""Conversations as examples: what is learnt from, what is cut, what is written while measuring, and how it is scored."""

import dataclasses
from itertools import chain

import pytest
import torch

import catalog
from catalog.processors import text
from recipes.instructions import IGNORE, InstructionFeatures, Instructions, conversational, fields
from recipes.samples.instructions import instructions
from trainer.data.rows import RowError

WORDS = ["What is the plural of mouse", "The plural is mice.", "system user assistant", "Be brief."] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return conversational(text.train_bytes(WORDS, 400))


def made(tokenizer, instruction, response, length=64, system=None):
    return InstructionFeatures(tokenizer, length, system)({"instruction": [instruction], "response": [response]})


def test_the_answer_alone_is_learnt_from(tokenizer):
    features = made(tokenizer, "What is the plural of mouse", "The plural is mice.", system="Be brief.")
    (ids,), (labels,), (prompt,) = features["input_ids"], features["labels"], features["prompt"]
    assert tokenizer.decode(ids[:prompt]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is the plural of mouse<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenizer.decode(ids[prompt:]) == "The plural is mice.<|im_end|>" and ids[-1] == tokenizer.eos_id
    assert labels == [IGNORE] * prompt + ids[prompt:]


def test_a_template_of_its_own_is_kept_and_one_that_rewrites_the_past_is_followed(tokenizer):
    own = tokenizer.having(chat_template="{{ messages[-1]['content'] | upper if not add_generation_prompt else 'Q:' }}")
    assert conversational(own) is own
    features = made(own, "mouse", "mice")
    assert own.decode(features["input_ids"][0]) == "Q:mice<|im_end|>"


def test_a_long_conversation_loses_the_end_of_its_instruction(tokenizer):
    whole = made(tokenizer, "What is the plural of mouse " * 9, "The plural is mice.", 500)
    cut = made(tokenizer, "What is the plural of mouse " * 9, "The plural is mice.", 40)
    assert len(cut["input_ids"][0]) <= 40 < len(whole["input_ids"][0])
    assert [i for i in cut["labels"][0] if i != IGNORE] == [i for i in whole["labels"][0] if i != IGNORE]
    assert tokenizer.decode(cut["input_ids"][0]).startswith("<|im_start|>user\nWhat is the plural of mouse")
    assert cut["input_ids"][0][: cut["prompt"][0]][-3:] == whole["input_ids"][0][: whole["prompt"][0]][-3:]


@pytest.mark.parametrize(
    ("instruction", "response", "said"),
    [
        ("mouse", "The plural is mice." * 20, "does not fit into 64; raise batch.max_length"),
        (" ", "mice", "column 'instruction' holds ' ', which is no text"),
        ("mouse", "", "column 'response' holds '', which is no text"),
        ("mouse", 7, "column 'response' holds 7, which is no text"),
    ],
)
def test_rows_that_cannot_be_learnt_from(tokenizer, instruction, response, said):
    with pytest.raises(RowError, match=said):
        made(tokenizer, instruction, response)


def test_exact_match_and_f1_of_the_published_example():
    """The example "partial match" of the metric card of SQuAD in the library ``evaluate``."""
    metrics = Instructions(None, 8).new_metrics()
    metrics.kept = [("1976", "1976"), ("Beyonce", "Beyoncé and Bruno Mars"), ("climate change", "climate change")]
    assert metrics.compute() == pytest.approx({"exact_match": 200 / 3, "f1": 200 / 3}, rel=1e-6)


def test_exact_match_and_f1_by_hand():
    """Articles, case and punctuation do not count; three of four words right and none missing: 2 * 3/4 / (3/4 + 1)."""
    metrics = Instructions(None, 8).new_metrics()
    metrics.kept = [("The mice!", "mice"), ("the red house by a lake", "red lake house")]
    assert metrics.compute() == pytest.approx({"exact_match": 50, "f1": 100 * (1 + 6 / 7) / 2}, rel=1e-6)


def padded(features, tokenizer):
    rows = list(zip(features["input_ids"], features["labels"]))
    width = max(len(ids) for ids, _ in rows)
    fill = [[field.pad] for field in fields(tokenizer)[:2]]
    return {
        "input_ids": torch.tensor([ids + fill[0] * (width - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + fill[1] * (width - len(labels)) for _, labels in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
        "prompt": torch.tensor(features["prompt"]),
    }


def unpadded(features):
    joined = {name: torch.tensor([list(chain(*features[name]))]) for name in ("input_ids", "labels")}
    lengths = torch.tensor([len(ids) for ids in features["input_ids"]])
    return {**joined, "lengths": lengths, "prompt": torch.tensor(features["prompt"])}


def test_loss_and_answers_are_the_same_padded_or_not_and_a_learnt_answer_is_written(tokenizer):
    pairs = {"instruction": ["mouse", "What is the plural"], "response": ["mice.", "The plural is mice."]}
    features, task = InstructionFeatures(tokenizer, 64, None)(pairs), Instructions(tokenizer, 12)
    config = catalog.config(
        "llama", vocab=len(tokenizer), width=32, depth=1, heads=2, kv_heads=2, hidden=64, positions=96
    )
    end = tokenizer.eos_id
    model = catalog.build(
        "llama", dataclasses.replace(config, eos_id=end, bos_id=end, pad_id=None), head="causal-lm", seed=0
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        output, terms = task.terms(model, unpadded(features))
        assert output.answers is None, "nothing is written while training"
        optimizer.zero_grad()
        (terms["loss"].total / terms["loss"].count).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        (one, loss), (two, other) = (
            task.terms(model, unpadded(features)),
            task.terms(model, padded(features, tokenizer)),
        )
    assert list(one.references) == pairs["response"] and one == two
    assert float(loss["loss"].total) == pytest.approx(float(other["loss"].total), rel=1e-4)
    assert loss["loss"].count == other["loss"].count == sum(i != IGNORE for row in features["labels"] for i in row)
    assert list(one.answers) == pairs["response"]


def test_the_sample_measures_on_questions_that_are_not_trained_on():
    train, measured = (list(instructions(split)) for split in ("train", "validation"))
    asked = {row["instruction"] for row in train}
    assert len(train) > 500 and len(measured) > 100 and not asked & {row["instruction"] for row in measured}
    assert {row["response"] for row in measured} <= {row["response"] for row in train}
    assert train == list(instructions("train"))
