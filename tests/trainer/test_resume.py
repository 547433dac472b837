"""A run that was stopped anywhere and resumed ends with the weights, to the bit, of the run that never was."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.support import training
from trainer.checkpoint import files
from trainer.checkpoint.store import Checkpoints
from trainer.errors import DataError, DiskError, OptionError, Stopped
from trainer.journal import Journal
from trainer.ledger import Ledger
from trainer.progress import Progress
from trainer.saving import Saves

STEPS = 14  # 40 rows, 6 a step, two epochs of 7


def options():
    """Log lines over three steps, evaluations and saves at other rhythms, early stopping that counts but does not act."""
    return training.config(epochs=2, log_every=3, eval_every=4, save_every=5, patience=9, dtype="fp32")


def final(trainer):
    """Every bit that training left: weights, buffers, optimizer, and a draw from the generator."""
    state = trainer.strategy.state()
    flat = {f"model.{k}": v.clone() for k, v in state["model"].items()}
    flat |= {f"{k}.{n}": v.clone() for k, e in state["optimizer"].items() for n, v in e.items()}
    return flat | {"draw": torch.rand(3)}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody stops: its final state, result and log."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = training.trainer(folder, options=options())
    result = trainer.fit()
    return final(trainer), result, logged(folder)


def logged(folder, event=None):
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [e for e in events if event in (None, e["event"])]


def at_step(step, action):
    """A ``before`` for a feed that acts once, when the batch of that step is made."""
    fired = []

    def before(n):
        if n == step and not fired:
            fired.append(n)
            action()

    return before


def send(number=signal.SIGTERM):
    return lambda: os.kill(os.getpid(), number)


def feed(before=lambda step: None):
    return training.Batches(training.Rows(), size=3, accumulate=2, seed=5, before=before)


@pytest.mark.parametrize("step", [0, 1, 4, 5, 6, 7, 10, 13])
def test_a_run_stopped_at_a_step_goes_on_as_if_nothing_had_been(tmp_path, whole, step):
    stopped = training.trainer(tmp_path, options=options(), feed=feed(at_step(step, send())))
    done = step + 1 if step else 0  # preflight looks at the very first batch, before any step
    with pytest.raises(Stopped, match=f"SIGTERM: saved step {done} of 14 in .*\n.*train.py resume=x"):
        stopped.fit()
    resumed = training.trainer(tmp_path, options=options(), net=training.model(seed=77))
    result = resumed.fit(resume=True)
    expected, whole_result, log = whole
    assert_same(final(resumed), expected)
    assert (result.metrics, result.best, result.best_step) == (
        whole_result.metrics,
        whole_result.best,
        whole_result.best_step,
    )
    assert compared(logged(tmp_path)) == compared(log)


@pytest.mark.parametrize("step", [4, 5, 6, 10])
def test_saved_in_the_background_it_goes_on_the_same(tmp_path, whole, step, monkeypatch):
    """Slow enough that a save is still under way when steps, the next save and the signal come."""
    write = files.write

    def slow(path, chunks):
        time.sleep(0.02)
        return write(path, chunks)

    monkeypatch.setattr(files, "write", slow)
    background = training.config(
        epochs=2, log_every=3, eval_every=4, save_every=5, patience=9, dtype="fp32", background=True
    )
    with pytest.raises(Stopped, match=f"SIGTERM: saved step {step + 1} of 14"):
        training.trainer(tmp_path, options=background, feed=feed(at_step(step, send()))).fit()
    resumed = training.trainer(tmp_path, options=background, net=training.model(seed=77))
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])
    assert compared(logged(tmp_path)) == compared(whole[2])
    saves = logged(tmp_path, "save")
    assert {(e["step"], e["path"].rpartition("step_")[2]) for e in saves} == {
        (e["step"], str(e["step"])) for e in saves
    }
    assert any(e["written"] > e["seconds"] for e in saves if e["reason"] in ("planned", "best"))
    assert Checkpoints(tmp_path / "checkpoints").newest_valid()[1] == []


def test_a_full_disk_in_the_background_ends_the_run_and_what_was_there_resumes(tmp_path, whole, monkeypatch):
    write = files.write

    def full(path, chunks):
        if path.parent.name == "step_10.tmp":
            raise OSError(28, "No space left on device", str(path))
        return write(path, chunks)

    monkeypatch.setattr(files, "write", full)
    background = training.config(epochs=2, log_every=3, eval_every=4, save_every=5, patience=9, background=True)
    with pytest.raises(DiskError, match=r"cannot save step_10: .*No space left.*last good.*\n.*train.py resume=x"):
        training.trainer(tmp_path, options=background).fit()
    monkeypatch.undo()
    resumed = training.trainer(tmp_path, options=background)
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])


def compared(log):
    """What must be equal in the two logs: losses, rates and metrics at every step, wherever the runs were cut."""
    kept = ("step", "event", "epoch", "loss", "lr", "grad_norm", "tokens", "examples", "accuracy", "best", "set")
    return [{k: e[k] for k in kept if k in e} for e in log if e["event"] in ("step", "eval")]


def test_stopped_twice_in_one_epoch(tmp_path, whole):
    for step in (2, 4):
        with pytest.raises(Stopped):
            training.trainer(tmp_path, options=options(), feed=feed(at_step(step, send()))).fit(resume=step > 2)
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_every_signal_saves(tmp_path, number):
    with pytest.raises(Stopped, match=f"{number.name}: saved step 3") as stopped:
        training.trainer(tmp_path, options=options(), feed=feed(at_step(2, send(number)))).fit()
    assert stopped.value.exit_code == 5
    assert [e["reason"] for e in logged(tmp_path, "stop")] == [number.name]


def test_handlers_are_put_back(tmp_path):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    training.trainer(tmp_path, options=training.config(steps=1)).fit()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


def test_a_second_interrupt_does_not_wait(tmp_path):
    def twice():
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        training.trainer(tmp_path / "a", options=options(), feed=feed(at_step(2, twice))).fit()
    with pytest.raises(Stopped, match=r"(?s)without a save.* since .*step_5 is lost.*train.py resume=x"):
        training.trainer(tmp_path / "b", options=options(), feed=feed(at_step(6, twice))).fit()


def test_a_signal_during_evaluation_saves_at_once_and_the_evaluation_is_done_on_resuming(tmp_path, whole):
    calls = []

    def before(_):
        calls.append(1)
        if len(calls) == 3:  # the first call is preflight's, the next two are in the evaluation of step 4
            send()()

    evals = {"dev": training.Batches(training.Rows(20, seed=9), before=before)}
    with pytest.raises(Stopped, match="saved step 4 "):
        training.trainer(tmp_path, options=options(), evals=evals).fit()
    assert not logged(tmp_path, "eval")
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])
    assert compared(logged(tmp_path)) == compared(whole[2])


def test_a_signal_during_a_save_is_answered_after_it(tmp_path, whole, monkeypatch):
    save = Checkpoints.save

    def slow(self, step, *args, **kwargs):
        if step == 5:
            send()()
        return save(self, step, *args, **kwargs)

    monkeypatch.setattr(Checkpoints, "save", slow)
    with pytest.raises(Stopped, match="saved step 5 "):
        training.trainer(tmp_path, options=options()).fit()
    assert [(e["step"], e["reason"]) for e in logged(tmp_path, "save")][-1] == (5, "planned"), "saved once"
    monkeypatch.undo()
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])


def test_a_crash_between_saves_loses_only_the_steps_since(tmp_path, whole):
    def crash():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        training.trainer(tmp_path, options=options(), feed=feed(at_step(8, crash))).fit()
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])
    assert logged(tmp_path, "start")[1]["step"] == 5


def test_a_damaged_checkpoint_is_refused_aloud_and_the_one_before_is_taken(tmp_path, whole):
    with pytest.raises(Stopped):
        training.trainer(tmp_path, options=options(), feed=feed(at_step(11, send()))).fit()
    newest = max((tmp_path / "checkpoints").glob("step_*"), key=lambda p: int(p.name.split("_")[1]))
    with next(newest.glob("*.safetensors")).open("r+b") as f:
        f.seek(-3, os.SEEK_END)
        f.write(b"xyz")
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert [e["path"] for e in logged(tmp_path, "refused")] == [str(newest)]
    assert_same(final(resumed), whole[0])


def test_a_finished_run_has_nothing_left_to_do(tmp_path, whole):
    training.trainer(tmp_path, options=options()).fit()
    again = training.trainer(tmp_path, options=options(), feed=feed(at_step(0, lambda: pytest.fail("trained on"))))
    again.train.worst = lambda: None
    result = again.fit(resume=True)
    assert (result.steps, result.metrics) == (STEPS, whole[1].metrics)


def test_a_folder_with_a_run_is_not_overwritten_by_accident(tmp_path):
    training.trainer(tmp_path, options=training.config(steps=1)).fit()
    with pytest.raises(OptionError, match=r"already holds a run, saved at step_1\n.*train.py resume=x"):
        training.trainer(tmp_path, options=training.config(steps=1)).fit()


def test_a_run_that_ended_before_its_first_checkpoint_is_begun_again(tmp_path, whole):
    def crash():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        training.trainer(tmp_path, options=options(), feed=feed(at_step(2, crash))).fit()
    (tmp_path / "checkpoints" / "step_4.tmp").mkdir(parents=True)
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])
    assert [e["path"] for e in logged(tmp_path, "refused")] == [str(tmp_path / "checkpoints" / "step_4.tmp")]


@pytest.mark.parametrize("stop, at", [(5, 5), (6, -1)])
def test_a_save_at_a_signal_does_not_stand_for_a_planned_one(tmp_path, stop, at):
    """Step 5 is a planned save, after which the signal of step 5 is answered; step 6 is saved for the signal alone."""
    stopped = training.trainer(tmp_path, options=options(), feed=feed(at_step(stop - 1, send())))
    with pytest.raises(Stopped, match=f"saved step {stop} "):
        stopped.fit()
    trainer, progress = training.trainer(tmp_path, options=options()), Progress()
    trainer.strategy.optimizer(trainer.options.optim)
    saves = Saves(trainer, progress, Ledger())
    saves.resume(Journal(trainer.console, [], progress))
    assert (progress.step, saves.at) == (stop, at)


def test_where_every_checkpoint_is_damaged_nothing_is_begun(tmp_path):
    training.trainer(tmp_path, options=training.config(steps=2, keep=1), evals={}).fit()
    (path,) = (tmp_path / "checkpoints" / "step_2").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"no checkpoint in {tmp_path}.* is whole\n   .*step_2: .*{path.name}"):
        training.trainer(tmp_path, options=training.config(steps=2)).fit(resume=True)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"rows": training.Rows(41)}, "rows was 40 and is 41, order was"),
        ({"seed": 2}, "seed was 1 and is 2\n"),
        ({"feed": training.Batches(training.Rows(), size=4, seed=5)}, "order was 5/3/2/205 and is 5/4/1/205"),
    ],
)
def test_other_data_is_refused(tmp_path, change, said):
    training.trainer(tmp_path, options=training.config(steps=1)).fit()
    with pytest.raises(DataError, match=f"belongs to other data: {said}"):
        training.trainer(tmp_path, options=training.config(steps=2), **change).fit(resume=True)


def test_another_model_is_refused_with_every_tensor_that_differs(tmp_path):
    training.trainer(tmp_path, options=training.config(steps=1)).fit()
    with pytest.raises(
        DataError, match=r"(?s)6 tensors differ.*embed.weight: checkpoint \[32, 16\], model \[32, 8\].*mix"
    ):
        other = training.trainer(tmp_path, options=training.config(steps=2), net=training.model(width=8))
        other.fit(resume=True)


SCRIPT = """
import sys, time
from tests.support import training
from trainer.errors import TrainerError
def before(step):
    if step == 3:
        print("here", flush=True)
    time.sleep(0.2 if step >= 3 else 0)
feed = training.Batches(training.Rows(), size=3, accumulate=2, seed=5, before=before)
try:
    options = training.config(epochs=2, log_every=3, eval_every=4, save_every=5, patience=9)
    training.trainer(sys.argv[1], options=options, feed=feed).fit()
except TrainerError as e:
    print(e, flush=True)
    sys.exit(e.exit_code)
"""


def test_sigterm_ends_the_process_with_exit_code_5_and_a_checkpoint_that_resumes(tmp_path, whole, root):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout.readline() == "here\n"
        run.send_signal(signal.SIGTERM)
        said = run.stdout.read()
    assert run.returncode == 5, said
    assert "SIGTERM: saved step" in said and "continue with: train.py resume=x" in said
    resumed = training.trainer(tmp_path, options=options())
    resumed.fit(resume=True)
    assert_same(final(resumed), whole[0])
