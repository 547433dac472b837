"""Words and their tags: aligned to pieces, cut between names, scored as whole names, read from every form of file."""

import gzip
import json
from dataclasses import replace

import datasets
import pytest
import torch

import catalog
from catalog.outputs import Scored
from catalog.processors import text
from launchers.cli import main
from recipes.bert_ner import NAMES, PARTS
from recipes.examples import NOTHING, examples
from recipes.samples.tagged import entities, parts_of_speech
from recipes.token_classification import (
    IGNORE,
    TagFeatures,
    TokenClassification,
    fields,
    labels_of,
    named,
    whole_names,
)
from trainer.data.rows import Origin, RowError, Rows
from trainer.errors import DataError

LABELS = ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
WORDS = ["unbelievable", "Anna", "Berg", "lives", "in", "Port", "Alma", "."]
TAGS = ["O", "B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_wordpiece([" ".join(WORDS[1:]), "un believe able"] * 9, 60)


def rows_of(tags, tokens=None):
    data = {"tokens": tokens or [["a"] * len(row) for row in tags], "tags": tags}
    return Rows(datasets.Dataset.from_dict(data), Origin((("train.conll", len(tags)),)), "digest")


def test_the_first_piece_of_each_word_has_its_label(tokenizer):
    made = TagFeatures(tokenizer, 64, LABELS)({"tokens": [WORDS], "tags": [TAGS]})
    (ids,), (marks,) = made["input_ids"], made["labels"]
    pieces = [tokenizer.token_of(i) for i in ids]
    assert len(ids) == len(marks) > len(WORDS) + 2
    assert [LABELS[mark] for mark in marks if mark != IGNORE] == TAGS
    assert all(
        (mark == IGNORE) == (piece.startswith("##") or piece in ("[CLS]", "[SEP]"))
        for mark, piece in zip(marks, pieces)
    )
    assert ids == tokenizer.ids([WORDS]).input_ids[0]


def test_a_word_without_pieces_is_unknown_and_not_left_out(tokenizer):
    made = TagFeatures(tokenizer, 64, LABELS)({"tokens": [["Anna", "\u200b", "Berg"]], "tags": [["B-PER", "O", "O"]]})
    assert [mark for mark in made["labels"][0] if mark != IGNORE] == [2, 0, 0]
    assert made["input_ids"][0].count(tokenizer.unk_id) == 1


@pytest.mark.parametrize("length", [8, 9, 11, 14])
def test_long_rows_are_cut_between_words_and_outside_names(tokenizer, length):
    words, tags = WORDS[1:] * 4, TAGS[1:] * 4
    made = TagFeatures(tokenizer, length, LABELS)({"tokens": [words, ["in"]], "tags": [tags, ["O"]]})
    parts = [[LABELS[mark] for mark in row if mark != IGNORE] for row in made["labels"]]
    assert len(parts) > 3 and sum(parts, []) == [*tags, "O"] and made["row"] == [0] * (len(parts) - 1) + [1]  # noqa: RUF017
    assert all(len(ids) <= length for ids in made["input_ids"])
    assert not any(part[0].startswith("I-") for part in parts)


@pytest.mark.parametrize(
    ("tokens", "tags", "said"),
    [
        (["Anna", "Berg"], ["B-PER"], "2 words and 1 tags: 'Anna Berg'"),
        (["Anna"], ["B-ORG"], "unknown tag 'B-ORG'; known are O, B-LOC"),
        ([], [], "which is no list of words"),
        (["Anna", ""], ["O", "O"], "which is no list of words"),
        ([1, 2], ["O", "O"], "which is no list of words"),
    ],
)
def test_rows_that_cannot_be_learnt_from(tokenizer, tokens, tags, said):
    with pytest.raises(RowError, match=said) as error:
        TagFeatures(tokenizer, 64, LABELS)({"tokens": [["in"], tokens], "tags": [["O"], tags]})
    assert error.value.position == 1


def test_labels_are_those_of_the_rows_and_parts_of_speech_are_no_names():
    assert labels_of(rows_of([["B-PER", "O"], ["I-LOC"]]), True) == ("O", "B-PER", "I-LOC")
    assert labels_of(rows_of([["VERB"], ["NOUN"]]), False) == ("NOUN", "VERB")
    with pytest.raises(DataError, match=r"train.conll row 2: tag 'VERB' is neither O nor"):
        labels_of(rows_of([["O"], ["VERB"]]), True)


def test_numbers_of_the_hub_become_names():
    feature = datasets.List(datasets.ClassLabel(names=["O", "B-PER"]))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "tags": feature})
    data = datasets.Dataset.from_dict({"tokens": [["a", "b"]], "tags": [[1, 0]]}, features=features)
    found = named(Rows(data, Origin((("hub", 1),)), "digest"))
    assert found.data["tags"][0] == ["B-PER", "O"] and found.data["tokens"][0] == ["a", "b"]


def test_whole_names_of_the_published_example():
    """The first example in the README of seqeval: one of two names found, f1 0.50, accuracy 0.80."""
    right = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    said = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert whole_names(said, right) == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 0.8}
    assert whole_names([["O"]], [["O"]])["f1"] == 0


def batch_of(made, tokenizer, padded):
    names = ("input_ids", "token_type_ids", "begins", "labels")
    if not padded:
        joined = {name: torch.tensor([[i for row in made[name] for i in row]]) for name in names}
        return {**joined, "lengths": torch.tensor([len(row) for row in made["labels"]])}
    width, fill = max(map(len, made["labels"])), {field.name: field.pad for field in fields(tokenizer)}
    batch = {name: torch.tensor([row + [fill[name]] * (width - len(row)) for row in made[name]]) for name in names}
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in made["labels"]]
    return {**batch, "attention_mask": torch.tensor(mask)}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("names", [True, False])
def test_metrics_and_predictions_padded_or_not(tokenizer, padded, names):
    made = TagFeatures(tokenizer, 64, LABELS)({"tokens": [WORDS, ["Anna", "."]], "tags": [TAGS, ["B-PER", "O"]]})
    batch, task = batch_of(made, tokenizer, padded), TokenClassification(LABELS, names, "accuracy")
    right = torch.where(batch["labels"] == IGNORE, 1, batch["labels"])
    wrong = torch.where(right == 3, 0, right)  # I-LOC, one word of ten, is not found
    metrics = task.new_metrics()
    metrics.update(Scored(logits=torch.eye(5)[wrong]), batch)
    found = metrics.compute()
    assert found["accuracy"] == pytest.approx(0.9)
    assert not names or found["f1"] == pytest.approx(2 / 3), "two names of three"
    config = catalog.config(
        "bert", vocab=len(tokenizer), width=16, depth=1, heads=2, hidden=32, positions=64, labels=LABELS
    )
    model = catalog.build("bert", config, head="token-classification", seed=0).eval()
    assert [len(row) for row in task.predict(model, batch)] == [8, 2]
    term = task.terms(model, batch)[1]["loss"]
    assert term.count == task.counts(model, batch)["loss"] == 10


CONLL = "-DOCSTART- -X- O O\n\nAnna NNP B-NP B-PER\nruns VBZ B-VP O\n\n\nAlma NNP B-NP B-LOC\n"
CONLLU = (
    "# text = Anna can't run\n1\tAnna\tAnna\tPROPN\tNNP\t_\t0\t_\t_\t_\n2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "2\tca\tcan\tAUX\tMD\t_\t1\t_\t_\t_\n3\tn't\tnot\tPART\tRB\t_\t1\t_\t_\t_\n3.1\tdo\tdo\tVERB\tVB\t_\t_\t_\t_\t_\n"
    "4\tNew York\tNew York\tPROPN\tNNP\t_\t1\t_\t_\t_\n\n"
)


def read(path, table, **given):
    rows = named(examples(replace(NOTHING, path=str(path), **given), table).train)
    return [(list(row["tokens"]), list(row["tags"])) for row in rows.data]


def test_the_forms_of_files(tmp_path):
    (tmp_path / "train.conll").write_text(CONLL * 10)
    rows = read(tmp_path / "train.conll", NAMES)
    assert len(rows) == 18 and rows[:2] == [(["Anna", "runs"], ["B-PER", "O"]), (["Alma"], ["B-LOC"])]
    with gzip.open(tmp_path / "a.conllu.gz", "wt") as file:
        file.write(CONLLU * 20)
    assert read(tmp_path / "a.conllu.gz", PARTS)[0] == (
        ["Anna", "ca", "n't", "New York"],
        ["PROPN", "AUX", "PART", "PROPN"],
    )
    assert read(tmp_path / "a.conllu.gz", PARTS, label="xpos")[0][1] == ["NNP", "MD", "RB", "NNP"]
    objects = [{"words": ["Anna", "runs"], "ner_tags": ["B-PER", "O"]}] * 20
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    assert read(tmp_path / "b.jsonl", NAMES)[0] == rows[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.conll", "Anna B-PER\nBerg\n", "a.conll:2: 1 fields where a word has 2: 'Berg'"),
        ("a.conllu", "1\tAnna\tPROPN\n", "a.conllu:1: 3 fields where a word has 10"),
        ("a.conll", "\n\n", "a.conll: the file has no rows"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read(tmp_path / name, NAMES)


def test_a_tag_that_training_lacks_and_a_table_of_texts_through_the_command(tmp_path, capsys):
    lines = "tokens,tags\n" + "Anna lives here,B-PER O O\n" * 20
    (tmp_path / "train.csv").write_text(lines)
    (tmp_path / "dev.csv").write_text(lines + "Alma,B-LOC\n")
    given = ["recipe=bert_ner", f"data.path={tmp_path}", f"run_dir={tmp_path / 'run'}", "train.steps=1"]
    assert main(given) == 3
    assert (
        "dev.csv row 21: unknown tag 'B-LOC'; known are O, B-PER. They are those of the training rows, or those that "
        in (capsys.readouterr().err)
    )
    assert main([*given, "options.labels=[O,B-PER,B-LOC]"]) == 0
    assert catalog.load(tmp_path / "run" / "model").config.labels == ("O", "B-PER", "B-LOC")


def test_the_sample_measures_on_names_that_are_not_trained_on():
    for sample, tags in ((entities, 7), (parts_of_speech, 12)):
        train, measured = (list(sample(split)) for split in ("train", "validation"))
        assert train == list(sample("train")) and all(len(row["tokens"]) == len(row["tags"]) for row in train)
        known = {word for row in train for word in row["tokens"]}
        assert {word for row in measured for word in row["tokens"]} - known
        assert len({tag for row in train for tag in row["tags"]}) == tags
        assert {tag for row in measured for tag in row["tags"]} <= {tag for row in train for tag in row["tags"]}
