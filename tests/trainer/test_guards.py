"""Losses that are not finite change no weight, are counted and named, and after a set number the weights go back."""

import json
import os
import re
import signal

import pytest
import torch

from tests.support import training
from trainer import guards
from trainer.errors import DataError, DeviceError, Stopped
from trainer.precision import Precision
from trainer.step import Stepper
from trainer.strategies.single import Single


def events(folder, name):
    return [e for e in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if e["event"] == name]


def spoiled_at(*steps):
    """A task whose loss is NaN at these steps (counted from 1), preflight's passes in training mode left aside."""
    calls = {"n": -1}  # the worst batch of preflight is forward pass number 0

    def spoil(batch):
        calls["n"] += 1
        return calls["n"] in steps

    return training.Task(spoil=spoil)


def feed():
    return training.Batches(training.Rows(), size=4, seed=5)


@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_a_step_that_is_not_finite_changes_nothing(max_norm):
    net, batch = training.model(), feed().batch(range(8))
    strategy = Single(training.spread("single"), torch.device("cpu"), Precision("fp32", torch.device("cpu")))
    strategy.setup(net)
    strategy.optimizer(training.config().optim)
    good, bad = training.Task(), training.Task(spoil=lambda batch: True)
    Stepper(net, good, strategy, max_norm)([batch], 0.1)
    before = {k: {n: v.clone() for n, v in e.items()} for k, e in strategy.state()["optimizer"].items()}
    weights = [p.detach().clone() for p in net.parameters()]
    outcome = Stepper(net, bad, strategy, max_norm)([batch], 0.1)
    assert outcome.skip == 1 and outcome.loss.isnan()
    assert all(torch.equal(a, b) for a, b in zip(weights, net.parameters()))
    for name, entries in strategy.state()["optimizer"].items():
        assert all(torch.equal(before[name][key], value) for key, value in entries.items()), name
    outcome = Stepper(net, good, strategy, max_norm)([batch], 0.1)
    assert outcome.skip == 0
    assert not torch.equal(weights[0], net.embed.weight)


def test_a_gradient_that_is_not_finite_is_found_behind_a_finite_loss():
    net, batch = training.model(), feed().batch(range(8))
    strategy = Single(training.spread("single"), torch.device("cpu"), Precision("fp32", torch.device("cpu")))
    strategy.setup(net)
    strategy.optimizer(training.config().optim)
    net.classify.bias.register_hook(lambda g: g * float("inf"))
    outcome = Stepper(net, training.Task(), strategy, 1.0)([batch], 0.1)
    assert outcome.loss.isfinite() and outcome.skip == 1


def test_single_bad_steps_are_skipped_counted_and_named(tmp_path):
    trainer = training.trainer(tmp_path, task=spoiled_at(3, 7), feed=feed(), options=training.config(epochs=1))
    result = trainer.fit()
    found = events(tmp_path, "skip")
    assert [(e["step"], e["in_row"], e["loss"]) for e in found] == [(3, 1, None), (7, 1, None)]
    batches = list(feed().epoch(0))
    assert found[0]["rows"] == batches[2][0]["rows"].tolist()
    assert result.steps == 10 and not events(tmp_path, "rollback")
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    lines = events(tmp_path, "step")
    assert [e["loss"] is None for e in lines] == [e["step"] in (3, 7) for e in lines]


def test_after_a_set_number_in_a_row_the_weights_go_back_and_the_data_is_passed_over(tmp_path):
    options = training.config(epochs=2, max_skips=3, save_every=4)
    trainer = training.trainer(tmp_path, task=spoiled_at(6, 7, 8), feed=feed(), options=options, evals={})
    back = {}

    class Seen:
        def log(self, event, fields):
            if event == "rollback":
                saved = trainer.checkpoints.load(tmp_path / "checkpoints" / "step_4")
                back["equal"] = all(
                    torch.equal(saved.whole(f"model.{n}"), p) for n, p in trainer.model.named_parameters()
                )

        def close(self):
            back["closed"] = True

    trainer.trackers = (Seen(),)
    result = trainer.fit()
    assert back == {"equal": True, "closed": True}
    assert [(e["step"], e["to"]) for e in events(tmp_path, "rollback")] == [(8, 4)]
    assert [e["in_row"] for e in events(tmp_path, "skip")] == [1, 2, 3]
    assert result.steps == 20, "steps still stand for the same batches"
    lines = {e["step"]: e["examples"] for e in events(tmp_path, "step")}
    assert lines[9] == 36


def test_a_run_resumed_before_a_bad_stretch_goes_back_to_the_same_weights(tmp_path):
    """The save at the signal (step 4, also a planned one; step 5, not) is not what the run goes back to."""
    options = training.config(epochs=2, max_skips=3, save_every=4, keep=3)
    bad = {tuple(micros[0]["input_ids"][:, 0].tolist()) for micros in list(feed().epoch(0))[5:8]}

    def trainer(folder, **kw):
        task = training.Task(spoil=lambda batch: tuple(batch["input_ids"][:, 0].tolist()) in bad)
        return training.trainer(tmp_path / folder, task=task, options=options, evals={}, **{"feed": feed()} | kw)

    whole = trainer("whole")
    whole.fit()
    assert events(tmp_path / "whole", "rollback")
    for stop in (4, 5):
        stopped = feed()
        stopped.before = lambda step, stop=stop: step == stop - 1 and os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match=f"saved step {stop} "):
            trainer(f"cut{stop}", feed=stopped).fit()
        resumed = trainer(f"cut{stop}")
        resumed.fit(resume=True)
        assert [e["to"] for e in events(tmp_path / f"cut{stop}", "rollback")] == [4]
        assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters()))


def test_without_a_checkpoint_there_is_one_message(tmp_path):
    task = training.Task(spoil=lambda batch: True)
    with pytest.raises(DataError) as error:
        training.trainer(tmp_path, task=task, feed=feed(), options=training.config(max_skips=3)).fit()
    message = str(error.value)
    assert "stays non-finite at step 3 (loss nan" in message and "no checkpoint to go back to" in message
    rows = list(feed().epoch(0))[2][0]["rows"].tolist()
    assert f"rows {', '.join(map(str, rows))}" in message
    assert "optim.lr" in message and error.value.exit_code == 3


def test_a_run_that_never_recovers_gives_up(tmp_path):
    task = spoiled_at(*range(5, 200))
    options = training.config(epochs=9, max_skips=3, save_every=4)
    with pytest.raises(DataError, match="3 returns did not help"):
        training.trainer(tmp_path, task=task, feed=feed(), options=options, evals={}).fit()
    back = [(e["step"], e["to"]) for e in events(tmp_path, "rollback")]
    assert back == [(7, 4), (10, 4), (13, 4)], "each after three more; saves amid bad steps are not good ones"


def test_outcomes_are_read_together():
    meter = guards.Meter()
    scalar = torch.tensor
    for i in range(3):
        outcome = guards.Outcome(scalar(float(i)), scalar(2.0 * i), scalar(float(i == 1)))
        meter.push(i, outcome, [scalar([i, 9])])
    readings = meter.read()
    assert [(r.step, r.loss, r.norm, r.skipped, r.ids()) for r in readings] == [
        (0, 0.0, 0.0, False, [0, 9]), (1, 1.0, 2.0, True, [1, 9]), (2, 2.0, 4.0, False, [2, 9]),
    ]  # fmt: skip
    assert meter.read() == []


@pytest.mark.parametrize(
    "dtype, loss, expected", [("fp32", 1.0, True), ("fp16", 1.0, False), ("fp16", float("nan"), True)]
)
def test_fp16_overflows_of_a_finite_loss_are_the_scalers_business(dtype, loss, expected):
    assert guards.serious(guards.Reading(1, loss, float("inf"), True, []), dtype) is expected


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_one_message_with_the_knobs(tmp_path, error):
    class Greedy(training.Task):
        def terms(self, model, batch):
            if model.training and len(batch["labels"]) == 4 and trainer.model.calls >= 3:
                raise error
            return super().terms(model, batch)

    trainer = training.trainer(tmp_path, task=Greedy(), feed=feed())
    with pytest.raises(DeviceError) as raised:
        trainer.fit()
    message = str(raised.value)
    assert "out of memory on cpu after step 3 on a micro batch of 4 examples" in message
    assert re.search(r"; peak \d+(\.\d+)? [KMG]i?B\n", message), "what was measured, not what was planned"
    assert all(knob in message for knob in ("batch.tokens", "batch.accumulate", "batch.max_length", "precision.dtype"))
    assert raised.value.exit_code == 4


def test_other_runtime_errors_are_not_hidden(tmp_path):
    class Broken(training.Task):
        def terms(self, model, batch):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        training.trainer(tmp_path, task=Broken()).fit()
