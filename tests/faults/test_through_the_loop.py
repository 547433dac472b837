"""Damage of every file of a checkpoint, a full disk and a loss of NaN, each met by a whole run: it ends as if unharmed."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import training
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.dataset import Ragged
from trainer.data.loader import Loader
from trainer.errors import DiskError
from trainer.options import BatchOptions

FILES = ["rank_0.safetensors", "rank_0.json", "manifest.json"]


def options(**changes):
    return training.config(**{"epochs": 2, "log_every": 3, "eval_every": 4, "save_every": 5} | changes)


def fitted(folder, resume=False, **kw):
    made = training.trainer(folder, options=kw.pop("options", None) or options(), **kw)
    made.fit(resume=resume)
    return made


def final(trainer):
    """Weights and buffers that training left, and a draw from the generator."""
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()} | {"draw": torch.rand(3)}


def assert_same(found, expected):
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run that was cut at step 12 of 14, with saves at 6 and 12; and the final state of the uncut one."""
    root = tmp_path_factory.mktemp("runs")

    class Cut(Exception):
        pass

    def cut(step):
        if step == 12:
            raise Cut

    feed = training.Batches(training.Rows(), size=3, accumulate=2, seed=5, before=cut)
    with pytest.raises(Cut):
        fitted(root / "cut", feed=feed, options=options(save_every=6))
    assert {path.name for path in (root / "cut" / "checkpoints").glob("step_*")} >= {"step_6", "step_12"}
    return root / "cut", final(fitted(root / "whole", options=options(save_every=6)))


def truncate(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def flip(path):
    data, draw = bytearray(path.read_bytes()), random.Random(path.name)
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_and_the_end_is_the_same(tmp_path, begun, name, damage):
    cut, expected = begun
    folder = tmp_path / "run"
    shutil.copytree(cut, folder, symlinks=True)
    damage(folder / "checkpoints" / "step_12" / name)
    resumed = fitted(folder, resume=True, options=options(save_every=6))
    assert_same(final(resumed), expected)
    assert '"refused"' in (folder / "log.jsonl").read_text()


def test_a_disk_that_fills_up_stops_the_run_and_with_room_again_it_ends_the_same(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root and a system that lets it mount a tmpfs")
    try:
        ballast = disk / "ballast"

        def fill(step):
            if step == 8 and not ballast.exists():
                with pytest.raises(OSError, match="No space left"), open(ballast, "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))

        feed = training.Batches(training.Rows(), size=3, accumulate=2, seed=5, before=fill)
        with pytest.raises(DiskError, match="No space left on device"):
            fitted(disk / "run", feed=feed)
        ballast.unlink()
        assert_same(final(fitted(disk / "run", resume=True)), final(fitted(tmp_path / "whole")))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_nan_at_a_step_is_one_skip_and_cut_and_resumed_the_run_ends_the_same(tmp_path):
    class Cut(Exception):
        pass

    def poisoned(folder, resume=False, cut=None):
        now, task = [0], training.Task(weight=0.5, spoil=lambda batch: now[-1] == 7)

        def before(step):
            now.append(step)
            if step == cut:
                raise Cut

        feed = training.Batches(training.Rows(), size=3, accumulate=2, seed=5, before=before)
        return fitted(tmp_path / folder, resume, feed=feed, task=task)

    whole = final(poisoned("whole"))
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [event["step"] for event in log if event["event"] == "skip"] == [8], "the eighth step, counted from one"
    assert all(tensor.isfinite().all() for tensor in whole.values())
    clean = final(fitted(tmp_path / "clean"))
    assert any(not torch.equal(whole[name], clean[name]) for name in clean)
    for cut in (6, 9):  # saved at 5: the bad step comes after the cut, or once more
        with pytest.raises(Cut):
            poisoned(f"cut{cut}", cut=cut)
        assert_same(final(poisoned(f"cut{cut}", resume=True)), whole)


class Numbers:
    """A thousand rows of 1 to 20 tokens."""

    lengths = np.random.default_rng(0).integers(1, 21, 1000).astype(np.int32)

    def __len__(self):
        return len(self.lengths)

    def columns(self, rows):
        lengths = self.lengths[rows].astype(np.int64)
        return {"input_ids": Ragged(np.ones(lengths.sum(), np.int64), lengths)}


def resident(pid):
    """Bytes that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_memory_stays_flat_over_10_000_batches(kind):
    """Of this process, or of the one that makes the batches."""
    batch = BatchOptions(layout="bucketed", tokens=None, size=8, max_length=20, accumulate=25)
    plan = BatchPlan(Numbers.lengths, batch, 1)
    held, made = [], 0
    with Loader(Numbers(), plan, Collate((Field("input_ids", "token"),), batch), workers=1, kind=kind) as loader:
        for epoch in range(80):
            made += sum(len(step) for step in loader.epoch(epoch))
            (pid,) = loader._pool._processes if kind == "process" else ["self"]
            held.append(resident(pid))
    assert made == 10_000
    slope = np.polyfit(np.arange(40), held[40:], 1)[0] * 80
    assert slope < 4 << 20, f"{slope / 2**20:.1f} MiB more every 10,000 batches"
