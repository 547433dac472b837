"""Every row once, metrics as of the whole set, the best model kept, and an end when it gets no better."""

import json
import math

import pytest
import torch
from torch.nn import functional as F

from tests.support import training
from trainer.errors import DataError, OptionError

ROWS = training.Rows(23, seed=9)


def by_hand(net):
    """Mean loss and accuracy over ROWS in one batch."""
    batch = training.Batches(ROWS).batch(range(len(ROWS)))
    net.eval()
    with torch.no_grad():
        logits = net(batch["input_ids"], batch["attention_mask"])[0]
    right = (logits.argmax(-1) == batch["labels"]).double().mean()
    return {"loss": float(F.cross_entropy(logits, batch["labels"])), "accuracy": float(right)}, logits.argmax(
        -1
    ).tolist()


@pytest.mark.parametrize("size, seed", [(1, None), (4, 3), (23, None), (50, 1)])
def test_metrics_are_those_of_the_whole_set_however_it_is_batched(tmp_path, size, seed):
    trainer = training.trainer(tmp_path, task=training.Task())
    metrics = trainer.evaluate(training.Batches(ROWS, size=size, seed=seed))
    expected, _ = by_hand(trainer.model)
    assert metrics.keys() == {"loss", "accuracy"}
    assert metrics["accuracy"] == expected["accuracy"]
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_predictions_come_in_the_order_of_the_rows(tmp_path):
    trainer = training.trainer(tmp_path, task=training.Task())
    expected = by_hand(trainer.model)[1]
    assert len(set(expected)) > 1
    assert trainer.predict(training.Batches(ROWS, size=5, seed=8)) == expected


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_leaves_mode_gradients_buffers_and_generators_alone(tmp_path, mode):
    trainer = training.trainer(tmp_path)
    trainer.model.train(mode)
    calls, generator = trainer.model.calls.clone(), torch.get_rng_state()

    class Restless(training.Batches):
        def batch(self, rows):
            torch.rand(5)
            return super().batch(rows)

    trainer.evaluate(Restless(ROWS))
    assert trainer.model.training is mode and torch.equal(trainer.model.calls, calls)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in trainer.model.parameters())


@pytest.mark.parametrize(
    "rows, said", [([0, 1, 1], "2 of 3 rows and 1 of them more"), ([0, 1], "2 of 3 rows and 0 of")]
)
def test_a_feed_that_repeats_or_leaves_out_rows_is_refused(tmp_path, rows, said):
    class Wrong(training.Batches):
        def epoch(self, epoch, start=0):
            yield [self.batch(rows)]

    trainer = training.trainer(tmp_path)
    for use in (trainer.evaluate, trainer.predict):
        with pytest.raises(DataError, match=said):
            use(Wrong(training.Rows(3)))


class Scripted:
    """Metrics that follow a script: one value an evaluation."""

    def __init__(self, values):
        self.values = list(values)
        self.values.insert(0, 0.0)  # preflight's look at one batch

    def new_metrics(self):
        value = self.values.pop(0)

        class One:
            def update(self, output, batch):
                pass

            def compute(self):
                return {"score": value, "score_loss": -value}

        return One()


def scripted(folder, values, best=("score", "max"), **options):
    task, script = training.Task(), Scripted(values)
    task.new_metrics, task.best = script.new_metrics, best
    options = training.config(**{"epochs": len(values), "keep": 1} | options)
    return training.trainer(folder, task=task, options=options)


def events(folder, name):
    return [e for e in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if e["event"] == name]


def test_the_best_evaluation_is_pinned_beside_the_newest(tmp_path):
    trainer = scripted(tmp_path, [0.1, 0.7, 0.3, 0.5])
    result = trainer.fit()
    assert (result.best, result.best_step, result.metrics["score"]) == (0.7, 14, 0.5)
    assert [e["best"] for e in events(tmp_path, "eval")] == [True, True, False, False]
    kept = {p.name for p in (tmp_path / "checkpoints").glob("step_*")}
    assert kept == {"step_14", "step_28"}, "the best outlives keep=1"
    last = trainer.model.embed.weight.detach().clone()
    assert trainer.load_best() == 14
    assert not torch.equal(last, trainer.model.embed.weight)
    saved = trainer.checkpoints.load(tmp_path / "checkpoints" / "step_14").weights()
    assert all(torch.equal(saved[name], p) for name, p in trainer.model.named_parameters())


def test_equal_is_not_better(tmp_path):
    assert scripted(tmp_path, [0.5, 0.5]).fit().best_step == 7


def test_smaller_is_better_where_the_task_says_so(tmp_path):
    result = scripted(tmp_path, [0.5, 0.2, 0.4], best=("score", "min")).fit()
    assert (result.best, result.best_step) == (0.2, 14)


def test_a_loss_asked_for_by_name_is_minimised(tmp_path):
    result = scripted(tmp_path, [0.5, 0.9, 0.4], metric="score_loss").fit()
    assert (result.best, result.best_step) == (-0.9, 14)


def test_training_stops_after_so_many_evaluations_without_a_better_one(tmp_path):
    result = scripted(tmp_path, [0.5, 0.6, 0.55, 0.6, 0.9], patience=2).fit()
    assert (result.steps, result.best, result.best_step) == (28, 0.6, 14)
    (done,) = events(tmp_path, "done")
    assert done["reason"] == "early stop: score not better in 2 evaluations, best 0.6000 at step 14"


def test_a_better_one_starts_the_count_again(tmp_path):
    assert scripted(tmp_path, [0.5, 0.4, 0.6, 0.5, 0.7], patience=2).fit().steps == 35


def test_patience_is_counted_across_a_resume(tmp_path):
    with pytest.raises(StopIteration):
        trainer = scripted(tmp_path, [0.5, 0.4, 0.3], patience=2, save_every="epoch")
        trainer.train.before = lambda step: step == 14 and next(iter(()))
        run(trainer)
    assert scripted(tmp_path, [0.3, 0.2, 0.1], patience=2).fit(resume=True).steps == 21


def run(trainer):
    """``fit`` with a generator's RuntimeError turned back into the StopIteration that caused it."""
    try:
        trainer.fit()
    except RuntimeError as e:
        raise e.__cause__ from None


def test_an_undefined_score_is_never_the_best(tmp_path):
    result = scripted(tmp_path, [math.nan, 0.2, math.nan]).fit()
    assert (result.best, result.best_step) == (0.2, 14)
    assert [e["score"] for e in events(tmp_path, "eval")] == [None, 0.2, None]


def test_a_metric_that_is_not_measured_is_refused_before_training(tmp_path):
    with pytest.raises(
        OptionError, match=r"eval.metric=f1 is not a metric of this task; there are loss, accuracy"
    ) as e:
        training.trainer(tmp_path, options=training.config(metric="f1")).fit()
    assert e.value.exit_code == 2 and not events(tmp_path, "step")


@pytest.mark.parametrize("every, steps", [("epoch", [7, 14]), (4, [4, 8, 12, 14]), (50, [14])])
def test_evaluations_come_on_time_and_at_the_end(tmp_path, every, steps):
    training.trainer(tmp_path, options=training.config(eval_every=every)).fit()
    assert [e["step"] for e in events(tmp_path, "eval")] == steps


def test_further_sets_are_measured_under_their_own_name(tmp_path):
    evals = {"matched": training.Batches(ROWS), "mismatched": training.Batches(training.Rows(7, seed=2))}
    result = training.trainer(tmp_path, evals=evals, options=training.config(epochs=1)).fit()
    assert result.metrics.keys() == {"loss", "accuracy", "mismatched.loss", "mismatched.accuracy"}
    assert [(e["set"], e["rows"], e["best"]) for e in events(tmp_path, "eval")] == [
        ("matched", 23, True), ("mismatched", 7, False),
    ]  # fmt: skip


def test_without_evaluation_sets_nothing_is_best(tmp_path):
    trainer = training.trainer(tmp_path, evals={}, options=training.config(epochs=1))
    result = trainer.fit()
    assert (result.metrics, result.best, trainer.load_best()) == ({}, None, None)
