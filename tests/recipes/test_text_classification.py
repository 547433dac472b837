"""Metrics against hand-computed and reference values; the task's loss and predictions."""

import math

import pytest
import torch

import catalog
from catalog.outputs import Scored
from recipes.glue import TASKS
from recipes.text_classification import Features, TextClassification


def measured(task, answers, labels, parts):
    """Metrics of class ids (or numbers) fed in batches of these sizes."""
    glue = TASKS[task]
    metrics = TextClassification(glue.labels, glue.metrics).new_metrics()
    start = 0
    for size in parts:
        given = torch.tensor(answers[start : start + size])
        logits = given[:, None] if glue.labels is None else torch.eye(len(glue.labels))[given]
        metrics.update(Scored(logits=logits), {"labels": torch.tensor(labels[start : start + size])})
        start += size
    return metrics.compute()


# 10 rows: 4 true positives, 2 false positives, 1 false negative, 3 true negatives
ANSWERS, LABELS = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("parts", [(10,), (1,) * 10, (7, 2, 1)])
def test_classification_metrics_by_hand(parts):
    assert measured("sst2", ANSWERS, LABELS, parts) == {"accuracy": pytest.approx(0.7)}
    assert measured("mrpc", ANSWERS, LABELS, parts) == {
        "f1": pytest.approx(2 * 4 / (2 * 4 + 2 + 1)),
        "accuracy": pytest.approx(0.7),
    }
    matthews = (4 * 3 - 2 * 1) / math.sqrt((4 + 2) * (4 + 1) * (3 + 2) * (3 + 1))
    assert measured("cola", ANSWERS, LABELS, parts) == {"matthews": pytest.approx(matthews)}


def test_three_classes():
    assert measured("mnli", [0, 1, 2, 2, 1], [0, 1, 2, 0, 0], (3, 2)) == {"accuracy": pytest.approx(0.6)}


@pytest.mark.parametrize("parts", [(6,), (1, 5), (2, 2, 2)])
def test_correlations_by_hand(parts):
    answers, labels = [1.0, 2.0, 3.0, 4.0, 5.0, 40.0], [0.0, 1.0, 1.0, 3.0, 2.0, 5.0]
    found = measured("stsb", answers, labels, parts)
    a, b = torch.tensor(answers).double(), torch.tensor(labels).double()
    a, b = a - a.mean(), b - b.mean()
    assert found["pearson"] == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-9)
    # ranks 1..6 and 1, 2.5, 2.5, 5, 4, 6: the tied ones share their mean
    a = torch.tensor([1.0, 2, 3, 4, 5, 6]).double() - 3.5
    b = torch.tensor([1.0, 2.5, 2.5, 5, 4, 6]).double() - 3.5
    assert found["spearman"] == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-6)


def test_metrics_agree_with_scikit_learn_and_scipy():
    sklearn, scipy = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    gen = torch.Generator().manual_seed(0)
    answers = torch.randint(0, 2, (997,), generator=gen).tolist()
    labels = torch.randint(0, 2, (997,), generator=gen).tolist()
    assert measured("cola", answers, labels, (500, 497))["matthews"] == pytest.approx(
        sklearn.matthews_corrcoef(labels, answers), abs=1e-6
    )
    assert measured("qqp", answers, labels, (500, 497))["f1"] == pytest.approx(
        sklearn.f1_score(labels, answers), abs=1e-6
    )
    scores = torch.randn(997, generator=gen).tolist()
    wanted = [round(5 * abs(x), 1) for x in scores]
    found = measured("stsb", scores, wanted, (500, 497))
    assert found["pearson"] == pytest.approx(scipy.pearsonr(scores, wanted)[0], abs=1e-6)
    assert found["spearman"] == pytest.approx(scipy.spearmanr(scores, wanted)[0], abs=1e-5)


@pytest.mark.parametrize("answers", [[0] * 10, [1] * 10])
def test_a_model_that_always_says_the_same_has_no_correlation(answers):
    assert measured("cola", answers, LABELS, (10,))["matthews"] == pytest.approx(0, abs=1e-3)


def test_reset_forgets():
    metrics = TextClassification(("a", "b"), ("accuracy",)).new_metrics()
    metrics.update(Scored(logits=torch.tensor([[1.0, 0.0]])), {"labels": torch.tensor([1])})
    metrics.reset()
    metrics.update(Scored(logits=torch.tensor([[1.0, 0.0]])), {"labels": torch.tensor([0])})
    assert metrics.compute() == {"accuracy": 1.0}


def model(labels, problem):
    config = catalog.config(
        "bert", vocab=30, width=16, depth=1, heads=2, hidden=32, positions=16, labels=labels, problem=problem
    )
    return catalog.build("bert", config, head="sequence-classification", seed=3).eval()


@pytest.mark.parametrize(
    ("labels", "problem", "wanted"),
    [(("a", "b"), "single_label_classification", [1, 0, 1]), (None, "regression", [2.5, 0.0, 5.0])],
)
def test_terms_of_an_unpadded_batch_are_the_published_loss_of_the_padded_one(labels, problem, wanted):
    made, task = model(labels or ("score",), problem), TextClassification(labels, ("accuracy",))
    rows = [[2, 5, 3], [2, 6, 7, 8, 3], [2, 9, 3]]
    targets = torch.tensor(wanted)
    lengths = torch.tensor([len(row) for row in rows])
    flat = {
        "input_ids": torch.tensor([[i for row in rows for i in row]]),
        "lengths": lengths,
        "labels": targets,
        "rows": torch.arange(3),
    }
    padded = torch.tensor([row + [0] * (5 - len(row)) for row in rows])
    published = made(padded, attention_mask=(padded > 0).long(), labels=targets)
    output, terms = task.terms(made, flat)
    torch.testing.assert_close(output.logits, published.logits)
    assert task.counts(made, flat) == {"loss": 3}
    torch.testing.assert_close(terms["loss"].total / terms["loss"].count, published.loss)
    answers = task.predict(made, {name: flat[name] for name in ("input_ids", "lengths")})
    if labels is None:
        assert answers == pytest.approx(published.logits[:, 0].tolist(), abs=1e-6)
    else:
        shares = published.logits.softmax(-1)
        assert [name for name, _ in answers] == [labels[i] for i in shares.argmax(-1)]
        assert [share for _, share in answers] == pytest.approx(shares.max(-1).values.tolist(), abs=1e-6)


def test_features_of_a_pair_have_both_texts_and_their_types():
    from catalog.processors import text

    tokenizer = text.train_wordpiece(["one dog ran", "two cats sat"] * 5, 200)
    made = Features(tokenizer, 9, ("first", "second"), ("no", "yes"))
    found = made({"first": ["one dog ran"], "second": ["two cats sat down here now"], "label": ["yes"]})
    tokens = [tokenizer.token_of(i) for i in found["input_ids"][0]]
    assert tokens[:5] == ["[CLS]", "one", "dog", "ran", "[SEP]"] and tokens[-1] == "[SEP]" and len(tokens) == 9
    assert found["token_type_ids"] == [[0] * 5 + [1] * 4]
    assert found["labels"] == [1]


def test_a_value_that_is_no_text_is_refused_with_its_row():
    made = Features(None, 9, ("first",), None)
    with pytest.raises(ValueError, match="column 'first' holds 5, which is not text") as caught:
        made({"first": ["fine", 5]})
    assert caught.value.position == 1
