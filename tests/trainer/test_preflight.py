"""What is refused before the first step, with the row that is at fault, and what is measured."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch

from tests.support import training
from trainer import lines, preflight
from trainer.console import Console
from trainer.errors import DataError, DeviceError
from trainer.preflight import Checks
from trainer.run import Run

CHECKS = Checks(vocab=training.VOCAB, classes=training.CLASSES)


def rows(n=5000, **changes):
    """Rows over more than one chunk of reading, with ``row=features`` changed."""
    made = training.Rows(n)
    for row, (column, value) in changes.items():
        getattr(made, column)[int(row.removeprefix("row"))] = value
    return made


def test_good_rows_are_counted():
    data = rows()
    labels = preflight.check_rows(data, CHECKS)
    assert labels.rows == 5000 and labels.empty == 0
    assert labels.top_id == max(max(ids) for ids in data.ids)
    assert labels.classes == Counter(data.labels)


@pytest.mark.parametrize(
    "change, said",
    [
        (
            {"row4500": ("ids", [5, 32, 7])},
            r"token id 32 in row 4500 \(rows.tsv:4502\), column 'input_ids'.*vocabulary of 32",
        ),
        ({"row7": ("ids", [-1])}, r"token id -1 in row 7 \(rows.tsv:9\)"),
        (
            {"row4999": ("labels", 3)},
            r"label 3 in row 4999 \(rows.tsv:5001\), column 'labels', is not a class from 0 to 2",
        ),
        ({"row0": ("labels", -1)}, r"label -1 in row 0 "),
        ({"row9": ("labels", float("nan"))}, r"label nan in row 9 \(rows.tsv:11\)"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(change, said):
    with pytest.raises(DataError, match=said) as e:
        preflight.check_rows(rows(**change), CHECKS)
    assert e.value.exit_code == 3


def test_regression_labels_are_finite_numbers():
    data = rows(10, row3=("labels", 2.75), row4=("labels", -7.0))
    assert preflight.check_rows(data, Checks(classes=None)).classes == Counter()
    data.labels[8] = math.inf
    with pytest.raises(DataError, match=r"label inf in row 8 .*is not a finite number"):
        preflight.check_rows(data, Checks(classes=None))


def test_labels_per_token_and_numpy_views_are_read_too():
    data = rows(3)
    data.labels = [np.array([-100, 1, 2]), np.array([-100, -100]), np.array([0])]
    labels = preflight.check_rows(data, Checks(classes=3, max_empty=0.5))
    assert labels.classes == Counter({0: 1, 1: 1, 2: 1}) and labels.empty == 1
    data.labels[2] = np.array([1, 4])
    with pytest.raises(DataError, match="label 4 in row 2"):
        preflight.check_rows(data, Checks(classes=3, max_empty=0.5))


@pytest.mark.parametrize(
    "empty, limit, refused", [(2, 0.01, True), (1, 0.01, False), (2, 0.05, False), (100, 0.99, True)]
)
def test_examples_without_a_target_are_refused_above_a_share(empty, limit, refused):
    data = rows(100)
    data.labels[:empty] = [-100] * empty
    checks = Checks(classes=3, max_empty=limit)
    if refused:
        with pytest.raises(DataError, match=f"{empty} of 100 examples have no target"):
            preflight.check_rows(data, checks)
    else:
        assert preflight.check_rows(data, checks).empty == empty


def test_a_special_token_that_no_example_holds_is_named():
    data = training.Rows(5000)
    data.ids = [
        [3, *ids] if row == 4500 else [token for token in ids if token > 3] + [4] for row, ids in enumerate(data.ids)
    ]
    checks = Checks(vocab=training.VOCAB, special={"[CLS]": 3, "[SEP]": 4})
    labels = preflight.check_rows(data, checks)
    assert "[CLS], [SEP] there" in lines.check({"supervised": 1.0}, labels, checks, "cpu")[0]
    data.ids[4500] = [5]
    with pytest.raises(DataError, match=r"no example holds \[CLS\] \(token id 3\), which the model was trained with"):
        preflight.check_rows(data, checks)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        preflight.check_rows(rows(0), CHECKS)


def test_bad_data_stops_before_any_step(tmp_path):
    data = training.Rows()
    data.labels[3] = 7
    with pytest.raises(DataError, match="label 7 in row 3"):
        training.trainer(tmp_path, rows=data, checks=CHECKS).fit()


def test_the_largest_batch_leaves_no_trace(tmp_path):
    trainer = training.trainer(tmp_path)
    trainer.model.eval()
    state, generator = {k: v.clone() for k, v in trainer.model.state_dict().items()}, torch.get_rng_state()
    slots, peak = preflight.worst_batch(trainer.model, trainer.stepper, trainer.train.worst())
    assert slots == 3 * max(map(len, trainer.train.dataset.ids)) and peak > 1e6
    assert all(torch.equal(state[name], tensor) for name, tensor in trainer.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in trainer.model.parameters())


def test_the_first_loss_is_that_of_the_first_step_without_dropout(tmp_path):
    trainer = training.trainer(tmp_path, net=training.model(dropout=0.0))
    first = preflight.first_loss(trainer.model, trainer.task, trainer.train, trainer.stepper)
    expected = trainer.stepper.gradients(next(trainer.train.epoch(0)))
    assert first.keys() == {"class", "token"}
    assert sum(first.values()) == pytest.approx(float(expected), rel=1e-6)


def test_a_task_that_counts_other_targets_than_its_loss_uses_is_refused(tmp_path):
    class Wrong(training.Task):
        def counts(self, model, batch):
            return {"class": len(batch["labels"]) + 1}

    with pytest.raises(DataError, match=r"'class' has 6 targets in the first batch, the task's counts\(\) announced 8"):
        training.trainer(tmp_path, task=Wrong()).fit()


class Ordered(training.Task):
    """Answers with numbers that depend on the order of tokens; with ``leak`` on those of the row before as well."""

    def __init__(self, leak):
        super().__init__()
        self.leak = leak

    def predict(self, model, batch):
        assert "labels" not in batch
        rows = batch["input_ids"][0].split(batch["lengths"].tolist()) if "lengths" in batch else batch["input_ids"]
        sums = torch.stack([(row * torch.arange(1, len(row) + 1)).sum() for row in rows]).double()
        sums = sums + self.leak * sums.roll(-1)
        return [("label", value) for value in sums.tolist()]


@pytest.mark.parametrize("leak", [0.0, 0.02])
@pytest.mark.parametrize("unpadded", [True, False])
def test_a_sequence_that_reaches_its_neighbours_is_found(tmp_path, leak, unpadded):
    trainer = training.trainer(tmp_path, task=Ordered(leak))
    batch = trainer.train.worst()
    if unpadded:
        real = batch.pop("attention_mask").bool()
        batch |= {"lengths": real.sum(1), "input_ids": batch["input_ids"][real][None]}
    before = batch["input_ids"].clone()
    found = preflight.leaks(trainer.model, trainer.task, batch, trainer.strategy)
    assert found == bool(leak)
    assert torch.equal(batch["input_ids"], before)


def test_a_leak_ends_the_run(tmp_path):
    with pytest.raises(DeviceError, match="on cpu a sequence changes the answers to its neighbours"):
        training.trainer(tmp_path, task=Ordered(0.02)).fit()


def test_a_model_blind_to_order_cannot_be_tested_for_leaks(tmp_path):
    trainer = training.trainer(tmp_path)
    assert preflight.leaks(trainer.model, trainer.task, trainer.train.worst(), trainer.strategy) is None


@pytest.mark.parametrize(
    "terms, classes, text",
    [
        ({"loss": 1.1}, 3, "loss@0 1.100, ln 3 = 1.099 ok"),
        ({"loss": 0.2}, 3, "loss@0 0.200, ln 3 = 1.099 (not near: has the head been trained?)"),
        ({"loss": 1.1}, None, "loss@0 1.100"),
        ({"a": 1.0, "b": 0.5}, 3, "loss@0 1.500"),
    ],
)
def test_the_first_loss_is_compared_where_that_means_something(terms, classes, text):
    assert lines.first_loss(terms, classes) == text


def test_what_was_found_is_said_and_logged(tmp_path, capsys):
    checks = Checks(vocab=32, classes=3, decode=lambda features: f"tokens {features['input_ids']}")
    data = training.Rows()
    kw = {"checks": checks, "console": Console(), "rows": data, "task": training.Task()}
    training.trainer(tmp_path, options=training.config(steps=1, show=2), **kw).fit()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("check  40 rows read   vocab ok: ids to 31 of 32   supervised 100%   labels 2: 40.0%")
    assert said[1].startswith("check  largest batch: 24 positions, peak ") and "ln 3 = 1.099 ok" in said[1]
    assert said[2:4] == [f"row    0: tokens {data.ids[0]}", f"row    1: tokens {data.ids[1]}"]
    (check,) = [e for e in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if e["event"] == "check"]
    assert (check["rows"], check["supervised"], check["worst_slots"]) == (40, 1.0, 24)
    assert check["loss_at_0"]["class"] == pytest.approx(math.log(3), rel=0.25)


def test_steps_are_planned_from_epochs_and_steps(tmp_path):
    def planned(**options):
        return Run(training.trainer(tmp_path, options=training.config(**options))).steps

    assert [planned(epochs=2), planned(epochs=2, steps=5), planned(epochs=None, steps=50)] == [14, 5, 50]
    assert [planned(epochs=0.5), planned(epochs=1.01)] == [4, 8]
