"""``torchrun train.py``: one run folder, one voice, one model; what does not fit is said once and before anything loads."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def torchrun(root, tmp_path):
    """train.py under torchrun with two processes -> (exit code, stdout, stderr)."""

    def start(*argv):
        env = {**os.environ, "TRIVIUM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(root / "train.py"), *argv]
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240
        )
        return done.returncode, done.stdout, done.stderr

    return start


def test_two_processes_train_one_run(torchrun, tmp_path):
    code, out, err = torchrun("recipe=bert_glue", "task=sst2", "strategy=ddp", "train.steps=4", "train.log_every=2")
    assert code == 0, err[-3000:]
    said = [line.split()[0] for line in out.splitlines() if line[:1].strip()]
    assert [said.count(word) for word in ("run", "step", "eval", "done", "saved")] == [1, 2, 1, 1, 1]
    (folder,) = (tmp_path / "runs" / "bert_glue" / "sst2").iterdir()
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert events[0]["strategy"] == "ddp" and events[-1]["event"] == "done"
    assert [e["rows"] for e in events if e["event"] == "eval"] == [200]
    assert (folder / "model" / "model.safetensors").stat().st_size > 2_000_000
    kept = {path.name for path in (folder / "checkpoints" / "step_4").iterdir()}
    assert kept >= {"rank_0.safetensors", "rank_1.safetensors"}


def test_processes_without_a_strategy_are_an_error_said_once(torchrun, tmp_path):
    code, out, err = torchrun("recipe=bert_glue", "task=sst2")
    assert code != 0 and not out
    assert err.count("error: strategy=single and 2 processes") == 1 and "add strategy=ddp" in err
    assert "exitcode  : 2" in err
    assert not (tmp_path / "runs").exists()
