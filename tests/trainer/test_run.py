"""The course of a run: what it writes, what it says, where its time went, and what a full disk leaves."""

import errno
import io
import json
import os
import re

import pytest
import torch

from tests.support import training
from trainer import lines
from trainer.checkpoint import files
from trainer.console import Console, count, duration, percent, shares, size
from trainer.errors import DataError, DeviceError, DiskError, OptionError
from trainer.ledger import Ledger
from trainer.precision import Precision
from trainer.strategies.base import pick_device
from trainer.tracking import jsonl
from trainer.tracking.jsonl import JsonLines

FIELDS = {
    "start": {"device", "dtype", "strategy", "parameters", "trainable", "steps", "resumed_from"},
    "check": {"rows", "supervised", "worst_slots", "peak_bytes", "loss_at_0"},
    "lr": {"warmup", "peak", "points"},
    "formats": {"weights", "frozen", "gradients", "optimizer", "computed"},
    "step": {
        "epoch", "loss", "lr", "grad_norm", "tokens", "examples", "tokens_per_second", "examples_per_second",
        "seconds_per_step", "data_wait", "padding",
    },
    "eval": {"set", "rows", "seconds", "best", "loss", "accuracy"},
    "save": {"path", "seconds", "written", "bytes", "reason"},
    "done": {"metrics", "best", "best_step", "seconds", "ledger", "reason"},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A whole run: its folder, events and result."""
    folder = tmp_path_factory.mktemp("run")
    options = training.config(epochs=2, log_every=3, eval_every=4, save_every=5)
    result = training.trainer(folder, options=options).fit()
    return folder, [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()], result


def test_the_log_has_the_documented_names(done):
    _, events, _ = done
    assert [e["event"] for e in events[:3]] == ["start", "check", "lr"] and events[-1]["event"] == "done"
    for e in events:
        assert e.keys() == FIELDS[e["event"]] | {"event", "time", "step"}, e["event"]
    assert {e["event"] for e in events} == FIELDS.keys()
    described = {line.split()[0]: line for line in re.split(r"\n {4}(?=\w)", jsonl.__doc__)[1:]}
    for event, names in FIELDS.items():
        assert names <= set(re.findall(r"\w+", described[event])), event


def test_the_order_of_events_is_that_of_the_steps(done):
    _, events, _ = done
    course = [(e["step"], e["event"]) for e in events if e["event"] in ("step", "eval", "save")]
    assert [x for x in course if x[1] == "step"] == [(s, "step") for s in (3, 6, 9, 12, 14)]
    assert [x for x in course if x[1] == "eval"] == [(s, "eval") for s in (4, 8, 12, 14)]
    assert {s for s, event in course if event == "save"} >= {5, 10, 14}
    assert course == sorted(course, key=lambda x: x[0])


def test_tokens_and_examples_are_counted_as_they_are(done):
    _, events, _ = done
    steps, data = [e for e in events if e["event"] == "step"], training.Rows()
    assert steps[-1]["tokens"] == 2 * sum(map(len, data.ids)) and steps[-1]["examples"] == 2 * len(data)
    feed, tokens, slots = training.Batches(data, size=3, accumulate=2, seed=5), 0, 0
    for micros in list(feed.epoch(0))[:3]:
        tokens += sum(int(m["attention_mask"].sum()) for m in micros)
        slots += sum(m["attention_mask"].numel() for m in micros)
    assert steps[0]["tokens"] == tokens
    assert steps[0]["padding"] == pytest.approx(1 - tokens / slots)


def test_losses_are_means_over_the_steps_since_the_last_line(done, tmp_path):
    _, events, _ = done
    training.trainer(tmp_path, options=training.config(epochs=2, log_every=1)).fit()
    fine = {
        e["step"]: e for e in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if e["event"] == "step"
    }
    coarse = {e["step"]: e for e in events if e["event"] == "step"}
    assert coarse[6]["loss"] == pytest.approx(sum(fine[s]["loss"] for s in (4, 5, 6)) / 3)
    assert coarse[14]["loss"] == pytest.approx(sum(fine[s]["loss"] for s in (13, 14)) / 2)
    assert coarse[6]["lr"] == fine[6]["lr"] and coarse[6]["grad_norm"] == fine[6]["grad_norm"]


def test_rates_follow_the_schedule(done):
    _, events, _ = done
    rates = {e["step"]: e["lr"] for e in events if e["event"] == "step"}
    assert rates[3] == pytest.approx(0.02 * 12 / 12)  # warm-up: 10% of 14 steps, rounded up, is 2
    assert rates[14] == pytest.approx(0.02 * 1 / 12)
    (lr,) = [e for e in events if e["event"] == "lr"]
    assert lr["warmup"] == 2 and lr["points"][0] == [0, pytest.approx(0.01)] and lr["points"][-1][0] == 13


def test_the_ledger_sums_to_the_wall_clock(done):
    _, events, result = done
    ledger = events[-1]["ledger"]
    assert set(ledger) == {"start", "check", "train", "data", "eval", "ckpt", "other"}
    assert sum(ledger.values()) == pytest.approx(events[-1]["seconds"])
    assert all(seconds > 0 for seconds in ledger.values())
    assert result.seconds == ledger


def test_nested_accounts_get_their_own_seconds():
    ledger = Ledger()
    with ledger.spend("train"), ledger.spend("data"):
        pass
    with pytest.raises(KeyError), ledger.spend("eval"):
        raise KeyError
    with ledger.spend("train"):
        pass
    first, second = ledger.close(), ledger.close()
    assert first.keys() == {"other", "train", "data", "eval"}
    assert second["other"] > first["other"] and second["train"] == first["train"]


def test_runs_are_equal_for_equal_seeds_and_differ_otherwise(tmp_path):
    def weights(name, **kw):
        trainer = training.trainer(tmp_path / name, options=training.config(epochs=1), **kw)
        trainer.fit()
        return trainer.model.classify.weight.detach()

    assert torch.equal(weights("a"), weights("b"))
    assert not torch.equal(weights("a2"), weights("c", seed=2)), "dropout follows the seed"


def test_training_learns(tmp_path):
    """Rows whose class is one of their tokens: fifty epochs are enough to tell almost all."""
    data = training.Rows(60)
    data.labels = [0 if 5 in ids else 1 if 9 in ids else 2 for ids in data.ids]
    options = training.config(epochs=50, log_every=50, lr=0.05)
    trainer = training.trainer(tmp_path, rows=data, evals={}, task=training.Task(), options=options)
    trainer.fit()
    assert trainer.evaluate(training.Batches(data))["accuracy"] > 0.95


# Formats and devices


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(tmp_path):
    seen = set()

    class Watch(training.Task):
        def terms(self, model, batch):
            output, terms = super().terms(model, batch)
            seen.add(output[0].dtype)
            return output, terms

    trainer = training.trainer(tmp_path, task=Watch(), options=training.config(epochs=1, dtype="bf16"))
    trainer.fit()
    assert seen == {torch.bfloat16}
    state = trainer.strategy.state()
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert {v.dtype for e in state["optimizer"].values() for v in e.values()} == {torch.float32}


def test_fp16_without_a_gpu_is_refused_with_the_choices(tmp_path):
    with pytest.raises(
        DeviceError, match=r"fp16 needs a CUDA device.*\n.*precision.dtype=fp32.*precision.dtype=bf16"
    ) as e:
        training.trainer(tmp_path, options=training.config(dtype="fp16"))
    assert e.value.exit_code == 4


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match="no device 'cuda:99' here"):
        pick_device("cuda:99")
    assert pick_device("cpu") == torch.device("cpu")


def test_fp32_has_neither_autocast_nor_scaler():
    precision = Precision("fp32", torch.device("cpu"))
    with precision.autocast():
        assert not torch.is_autocast_enabled("cpu")
    assert precision.scaler is None


# Disks


def test_a_full_disk_ends_the_run_and_the_last_good_checkpoint_resumes(tmp_path, monkeypatch):
    options = training.config(epochs=2, save_every=5)
    whole = training.trainer(tmp_path / "whole", options=options)
    whole.fit()
    write, calls = files.write, []

    def full(path, chunks):
        calls.append(path)
        if path.parent.name == "step_10.tmp":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, chunks)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(
        DiskError, match=r"step_10.*No space left on device.*last good checkpoint is .*step_7.*\n.*resume=x"
    ) as e:
        training.trainer(tmp_path / "run", options=options).fit()
    assert e.value.exit_code == 4
    monkeypatch.undo()
    resumed = training.trainer(tmp_path / "run", options=options)
    resumed.fit(resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters()))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskError, match=r"cannot write the log .*log.jsonl: No space left on device"):
        training.trainer(tmp_path).fit()


def test_a_run_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write the log"):
        training.trainer(tmp_path / "file" / "run").fit()


def test_a_torn_last_line_of_the_log_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "step"}\n{"event": "st')
    log = JsonLines(path)
    log.log("eval", {"loss": float("nan"), "path": tmp_path, "ledger": {"a": float("inf")}, "points": [(1, 2.0)]})
    log.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {"event": "step"}
    assert second["loss"] is None and second["path"] == str(tmp_path) and second["ledger"] == {"a": None}
    path.write_text("x" * 10000)
    JsonLines(path).close()
    assert path.read_text() == ""


# The console


def said(capsys, folder, **kw):
    training.trainer(folder, console=Console(), **kw).fit()
    return capsys.readouterr().out.splitlines()


def test_plain_output_is_one_line_an_event(tmp_path, capsys):
    out = said(capsys, tmp_path, options=training.config(epochs=2, log_every=7, save_every=None))
    heads = [line.split()[0] for line in out]
    assert heads == ["check", "check", "lr", "kept", "step", "eval", "ckpt", "step", "eval", "ckpt", "done", "wall"]
    assert (
        out[2]
        == "lr     0.01 @ step 0 -> 0.02 @ step 1 -> 0.0117 @ step 7 -> 0.00167 @ step 13   linear, warm-up 2 steps to 0.02"
    )
    for name in (
        "step   7/14  ep 1.00",
        "loss ",
        "lr 0.0133",
        "|g| ",
        "tok/s",
        "ex/s",
        "padding ",
        "data-wait ",
        "eta ",
    ):
        assert name in out[4]
    assert "eta" not in out[7], "nothing is left after the last step"
    assert "20/20 rows, exact   best so far" in out[5]
    assert f"{tmp_path}/checkpoints/step_7  stall" in out[6] and "keep: last 2, best (step 7)" in out[6]
    assert not any("\x1b" in line for line in out)


def test_a_terminal_gets_the_same_lines_and_a_bar_that_goes_away(tmp_path):
    stream = io.StringIO()
    options = training.config(epochs=2, log_every=7)
    training.trainer(tmp_path, console=Console(stream, terminal=True), options=options).fit()
    text = stream.getvalue()
    assert "\x1b[" in text and "14/14" in text
    assert [line for line in text.splitlines() if line.endswith("best so far")] and "done   loss" in text


def test_other_processes_say_nothing(tmp_path, capsys):
    training.trainer(tmp_path, console=Console(quiet=True, terminal=True), options=training.config(steps=1)).fit()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text, expected",
    [
        (count(684_321), "684k"), (count(1_234_567), "1.23M"), (count(68), "68"), (count(0.5), "0.5"),
        (size(1_395_864_371), "1.3 GiB"), (size(900), "900 B"), (size(2048), "2.0 KiB"),
        (duration(0.0812), "0.081 s"), (duration(16.2), "16 s"), (duration(245), "4:05"), (duration(7389), "2:03:09"),
        (percent(0.57), "57%"), (percent(0.016), "1.6%"), (percent(0.003), "0.3%"), (percent(0), "0%"),
        (shares({"other": 3.0, "train": 6.0, "eval": 1.0}), "train 60% eval 10% other 30%"),
        (lines.parameters(training.model()), "867 parameters, all trained, float32"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(text, expected):
    assert text == expected


def test_without_an_end_there_is_a_message(tmp_path):
    with pytest.raises(OptionError, match=r"neither train.epochs nor train.steps"):
        training.trainer(tmp_path, options=training.config(epochs=None)).fit()


def test_a_feed_that_ends_early_is_named(tmp_path):
    class Short(training.Batches):
        def steps(self, epoch):
            return 20

    with pytest.raises(DataError, match="epoch 0 ended after 10 optimizer steps; its feed announced 20"):
        training.trainer(tmp_path, feed=Short(training.Rows())).fit()
