"""Endings to choose from: read with their text, as many as a row has, scored against each other."""

import json

import pytest
import torch

import catalog
from catalog.outputs import Scored
from catalog.processors import text
from launchers.cli import main
from recipes.multiple_choice import ChoiceFeatures, MultipleChoice
from recipes.samples.endings import SCENES, endings
from trainer.data.rows import RowError

ROWS = {
    "context": ["Ann is hungry .", "It rains .", "Ann is tired ."],
    "endings": [["Ann eats .", "Ann sleeps .", "It rains ."], ["Ann is tired .", "Ann eats ."], ["Ann .", "It ."]],
    "label": ["0", 1, "1"],
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_wordpiece([*ROWS["context"], *(end for row in ROWS["endings"] for end in row)] * 9, 100)


def batch_of(made, rows=slice(None)):
    part = {name: values[rows] for name, values in made.items()}
    most = max(map(len, part["sizes"]))
    batch = {name: torch.tensor([[i for row in part[name] for i in row]]) for name in ("input_ids", "token_type_ids")}
    sizes = torch.tensor([row + [0] * (most - len(row)) for row in part["sizes"]])
    return {**batch, "sizes": sizes, "lengths": sizes.sum(1), "labels": torch.tensor(part["labels"])}


def test_each_ending_stands_with_its_text(tokenizer):
    made = ChoiceFeatures(tokenizer, 32)(ROWS)
    assert made["labels"] == [0, 1, 1] and [len(row) for row in made["sizes"]] == [3, 2, 2]
    alone = tokenizer("It rains .", "Ann eats .")
    size = made["sizes"][1][1]
    assert (
        made["input_ids"][1][-size:] == alone["input_ids"]
        and made["token_type_ids"][1][-size:] == alone["token_type_ids"]
    )
    assert [sum(sizes) for sizes in made["sizes"]] == [len(ids) for ids in made["input_ids"]]
    assert max(size for row in ChoiceFeatures(tokenizer, 7)(ROWS)["sizes"] for size in row) == 7


def test_the_columns_of_swag(tokenizer):
    columns = {
        "sent1": ["Ann is hungry ."],
        "sent2": ["Ann"],
        "ending0": ["eats ."],
        "ending1": ["sleeps ."],
        "label": [1],
    }
    listed = {"context": ["Ann is hungry ."], "endings": [["Ann eats .", "Ann sleeps ."]], "label": [1]}
    assert ChoiceFeatures(tokenizer, 32)(columns) == ChoiceFeatures(tokenizer, 32)(listed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 3}, "label '3' is not the number of an ending, 0 to 2"),
        ({"label": -1}, "this split has no labels"),
        ({"label": "Ann eats ."}, "is not the number of an ending"),
        ({"endings": ["Ann eats ."]}, "1 endings; a choice has 2 to 32"),
        ({"endings": ["Ann eats .", " "]}, "which is no list of texts"),
        ({"endings": "Ann eats ."}, "which is no list of texts"),
        ({"context": ""}, "the text holds '', which is no text"),
    ],
)
def test_rows_that_cannot_be_learnt_from(tokenizer, change, said):
    rows = {name: [values[0], change.get(name, values[0])] for name, values in ROWS.items()}
    with pytest.raises(RowError, match=said) as error:
        ChoiceFeatures(tokenizer, 32)(rows)
    assert error.value.position == 1


def test_rows_of_different_numbers_score_as_they_do_alone(tokenizer):
    config = catalog.config("bert", vocab=len(tokenizer), width=16, depth=1, heads=2, hidden=32, positions=64)
    model = catalog.build("bert", config, head="multiple-choice", seed=0).eval()
    made, task = ChoiceFeatures(tokenizer, 32)(ROWS), MultipleChoice()
    with torch.no_grad():
        output, terms = task.terms(model, batch_of(made))
        alone = [task.terms(model, batch_of(made, slice(i, i + 1))) for i in range(3)]
        first = tokenizer([ROWS["context"][0]] * 3, ROWS["endings"][0], padding="longest")
        published = model(**{name: torch.tensor([value]) for name, value in first.items()}).logits
    torch.testing.assert_close(output.logits[:1], published, atol=1e-5, rtol=1e-5)
    for i, (scored, _) in enumerate(alone):
        torch.testing.assert_close(output.logits[i, : scored.logits.shape[1]], scored.logits[0], atol=1e-5, rtol=1e-5)
    assert float(terms["loss"].total) == pytest.approx(sum(float(t["loss"].total) for _, t in alone), rel=1e-5)
    assert terms["loss"].count == task.counts(model, batch_of(made))["loss"] == 3
    assert all(number < len(row) for (number, _), row in zip(task.predict(model, batch_of(made)), made["sizes"]))


def test_accuracy_by_hand():
    metrics = MultipleChoice().new_metrics()
    low = torch.finfo(torch.float32).min
    logits = torch.tensor([[0.1, 0.5, 0.2], [-3.0, -4.0, low], [1.0, 2.0, low]])
    metrics.update(Scored(logits=logits), {"labels": torch.tensor([1, 1, 1])})
    assert metrics.compute() == {"accuracy": pytest.approx(2 / 3)}


def test_files_and_what_is_refused(tmp_path, capsys):
    rows = [
        {"query": "Ann is hungry .", "choices": ["Ann eats .", "Ann sleeps .", "It rains ."][: 2 + i % 2], "gold": 0}
        for i in range(30)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["recipe=bert_swag", f"run_dir={tmp_path / 'run'}", f"data.path={tmp_path / 'a.jsonl'}", "train.steps=2"]
    assert main([*given, "batch=padded"]) == 2
    assert "a row is several texts of their own; write batch=unpadded" in capsys.readouterr().err
    assert main([*given, "options.endings=columns"]) == 3
    assert "no column 'sent1'" in capsys.readouterr().err
    assert main(given) == 0
    assert catalog.load(tmp_path / "run" / "model").head == "multiple-choice"


def test_the_sample_has_one_ending_that_fits():
    train, measured = list(endings("train")), list(endings("validation"))
    fitting = {happens: ending for starts, ending in SCENES for happens in starts}
    for row in (*train, *measured):
        (happens,) = [happens for happens in fitting if row["context"].endswith(f" {happens}.")]
        right = [fitting[happens] in ending for ending in row["endings"]]
        assert sum(right) == 1 and right[row["label"]]
    assert train == list(endings("train")) and 0.2 < sum(row["label"] == 0 for row in train) / len(train) < 0.3
