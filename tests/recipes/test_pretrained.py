"""Where the tokenizer and the weights of a run come from."""

import json

import pytest
import torch

import catalog
from catalog.processors import text
from recipes import pretrained
from recipes.options import ModelOptions
from trainer.errors import DataError

TEXTS = ["one dog ran", "two cats sat", "no dog sat down"] * 5
SIZES = {"width": 16, "depth": 1, "heads": 2, "hidden": 32, "positions": 32}
LABELS = ("no", "yes")
SHAPE = pretrained.classes(LABELS)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


def options(source=None, tokenizer=None, **config):
    given = None if source is None else str(source)
    return ModelOptions(
        name="bert", head="sequence-classification", source=given, tokenizer=tokenizer and str(tokenizer),
        config={**SIZES, **config},
    )  # fmt: skip


def test_a_vocabulary_is_learnt_once_for_the_same_text():
    asked = []

    def texts():
        asked.append(1)
        return iter(TEXTS)

    first, _ = pretrained.tokenizer(options(), texts, "content")
    second, about = pretrained.tokenizer(options(), texts, "content")
    assert len(asked) == 1 and "learnt" in about
    assert first.fingerprint == second.fingerprint
    assert first.tokens("two cats") == ["two", "cats"]
    pretrained.tokenizer(options(), texts, "other content")
    pretrained.tokenizer(options(vocab=40), texts, "content")
    assert len(asked) == 3


def test_a_vocabulary_kept_in_another_form_is_learnt_again(monkeypatch):
    monkeypatch.setattr(pretrained, "LEARNING", 1)
    pretrained.tokenizer(options(), lambda: ["no words"] * 9, "content")
    monkeypatch.undo()
    found, _ = pretrained.tokenizer(options(), lambda: TEXTS, "content")
    assert found.tokens("two cats") == ["two", "cats"]


def test_a_vocabulary_from_a_file_or_a_folder(tmp_path):
    learnt = text.train_wordpiece(TEXTS, 100)
    learnt.save(tmp_path)
    for place in (tmp_path, tmp_path / "vocab.txt", tmp_path / "tokenizer.json"):
        found, about = pretrained.tokenizer(options(tokenizer=place), None, "")
        assert found.ids(TEXTS) == learnt.ids(TEXTS)
        assert about == str(place)


def test_new_weights_take_the_tokenizer_s_vocabulary_and_the_seed():
    first, _ = pretrained.model(options(), seed=1, vocab=50, shape=SHAPE)
    assert (first.config.vocab, first.config.labels, first.config.width) == (50, LABELS, 16)
    again, _ = pretrained.model(options(), seed=1, vocab=50, shape=SHAPE)
    other, _ = pretrained.model(options(), seed=2, vocab=50, shape=SHAPE)
    assert torch.equal(first.out.weight, again.out.weight) and not torch.equal(first.out.weight, other.out.weight)
    assert pretrained.model(options(vocab=60), seed=1, vocab=50, shape=SHAPE)[0].config.vocab == 50, (
        "learnt, 60 at most"
    )
    given = options(vocab=60, tokenizer="tokenizer.json")
    assert pretrained.model(given, seed=1, vocab=50, shape=SHAPE)[0].config.vocab == 60
    score, _ = pretrained.model(options(), seed=1, vocab=50, shape=pretrained.classes(None))
    assert (score.config.problem, score.out.out_features) == ("regression", 1)


def saved(folder, head, **config):
    return catalog.save(
        catalog.build("bert", catalog.config("bert", vocab=50, **SIZES, **config), head=head, seed=7), folder
    )


@pytest.mark.parametrize("head", ["masked-lm", "pre-training", None, "token-classification"])
def test_the_backbone_of_a_checkpoint_gets_a_new_head(tmp_path, head):
    folder = saved(tmp_path / "source", head, labels=("a", "b", "c", "d", "e"))
    found, about = pretrained.model(options(folder), seed=1, vocab=50, shape=pretrained.classes(("x", "y", "z")))
    before = catalog.load(folder, "backbone", new=("pool.*",)).state_dict()
    after = found.backbone.state_dict()
    kept = [name for name in after if not name.startswith("pool.") or head in ("pre-training", None)]
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)
    assert found.config.labels == ("x", "y", "z") and found.out.out_features == 3
    assert "new head" in about


def test_a_classifier_is_taken_whole_and_nameless_classes_get_their_names(tmp_path):
    folder = saved(tmp_path / "source", "sequence-classification")
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    found, _ = pretrained.model(options(folder), seed=1, vocab=50, shape=SHAPE)
    assert torch.equal(found.out.weight, catalog.load(folder).out.weight)
    assert found.config.labels == LABELS
    with pytest.raises(DataError, match="its classes"):
        pretrained.model(options(folder), seed=1, vocab=50, shape=pretrained.classes(("a", "b", "c")))


def test_a_checkpoint_keeps_its_sizes_and_says_which_were_asked_otherwise(tmp_path):
    folder = saved(tmp_path / "source", "sequence-classification")
    found, about = pretrained.model(options(folder, depth=3, heads=4, dropout=0.3), seed=1, vocab=50, shape=SHAPE)
    assert (found.config.depth, found.config.heads, found.config.dropout) == (1, 2, 0.3)
    assert about.endswith("its own depth, heads, not model.config's")
