"""Whatever happens to a checkpoint's files, it is seen, and the one before is taken."""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from trainer.checkpoint import manifest
from trainer.checkpoint.__main__ import main
from trainer.checkpoint.store import Checkpoints
from trainer.errors import DataError, DiskError

FILES = ["rank_0.safetensors", "rank_0.json", "index.json", "manifest.json"]


@pytest.fixture
def store(tmp_path):
    store = Checkpoints(tmp_path / "checkpoints", keep=5)
    for step in (1, 2):
        store.save(step, {"step": step, "model": {"w": torch.arange(50.0) + step}, "name": "a run"})
    return Checkpoints(store.folder)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def grow(path):
    path.write_bytes(path.read_bytes() + b" ")


def flip(path, bit=None):
    data = bytearray(path.read_bytes())
    bit = len(data) * 4 if bit is None else bit
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, empty, grow, flip, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FILES)
def test_damage_is_seen_and_the_previous_taken(store, name, damage):
    bad, good = store.folder / "step_2", store.folder / "step_1"
    damage(bad / name)
    path, refused = store.newest_valid()
    assert path == good and [item[0] for item in refused] == [bad] and name in refused[0][1]
    assert store.load(good).values()["step"] == 1
    with pytest.raises(DataError, match=rf"step_2 is not a whole checkpoint: .*{name}"):
        store.load(bad)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_seen(tmp_path, name):
    path = Checkpoints(tmp_path).save(1, {"w": torch.ones(1), "n": 1})
    data = (path / name).read_bytes()
    for bit in range(0, len(data) * 8, 11):  # 11: every position within a byte comes up
        flip(path / name, bit)
        assert manifest.problem(path), f"bit {bit} of {name}"
        (path / name).write_bytes(data)
    assert manifest.problem(path) is None


def test_a_file_of_another_checkpoint_is_seen(store):
    """Same size, valid by itself: only the hash tells."""
    shutil.copy(store.folder / "step_1" / FILES[0], store.folder / "step_2" / FILES[0])
    path, [(bad, reason)] = store.newest_valid()
    assert path.name == "step_1" and bad.name == "step_2" and "altered" in reason


def test_verify_command(store, capsys):
    assert main(["verify", str(store.folder)]) == 0
    assert capsys.readouterr().out.count("  ok  ") == 2
    flip(store.folder / "step_2" / FILES[0])
    assert main(["verify", str(store.folder.parent)]) == 3
    out = capsys.readouterr().out
    assert "step_1  ok  step 1, 3 files" in out and "step_2  REFUSED  rank_0.safetensors was altered" in out
    assert main(["verify", str(store.folder / "step_1")]) == 0
    capsys.readouterr()
    assert main(["verify", str(store.folder / "nothing")]) == 3
    assert "no checkpoint" in capsys.readouterr().err


def assert_refused_and_older_loads(store, error, step, reason):
    message = str(error.value)
    assert error.value.exit_code == 4 and "\n" not in message
    assert f"step_{step}.tmp/rank_0.safetensors: {reason}" in message and "The last good checkpoint is" in message
    path, refused = store.newest_valid()
    assert store.load(path).values()["step"] == step - 1 and refused == []


def test_a_file_size_limit(store):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(DiskError) as error:
            store.save(3, {"step": 3, "w": torch.zeros(1 << 19)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert_refused_and_older_loads(store, error, 3, "File too large")


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root and a system that lets it mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk(small_disk):
    store = Checkpoints(small_disk / "checkpoints")
    store.save(1, {"step": 1, "w": torch.zeros(1 << 16)})
    with pytest.raises(DiskError) as error:
        store.save(2, {"step": 2, "w": torch.zeros(1 << 18)})
    assert_refused_and_older_loads(store, error, 2, "No space left on device")
    store.save(3, {"step": 3, "w": torch.zeros(1 << 16)})  # the failed save gave its space back
    assert store.newest_valid()[0].name == "step_3"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(DiskError, match=r"cannot save step_1: .*No checkpoint was saved before"):
        Checkpoints(tmp_path / "run").save(1, {})


def save_for_ever(folder, pipe):
    store = Checkpoints(folder, keep=2)
    path, _ = store.newest_valid()
    step = store.load(path).values()["step"] if path else 0
    while True:
        step += 1
        name = step if step % 3 else step - 1  # every third one replaces the save before it
        store.save(name, {"step": step, "w": torch.full((20_000,), float(step))}, pin=step % 2 == 0)
        os.write(pipe, b"%d\n" % step)


def test_killed_while_saving(tmp_path):
    """SIGKILL at 25 instants of an endless row of saves: what was reported saved is not lost, and no mix is loaded."""
    folder, reported, seen = tmp_path / "checkpoints", 0, set()
    for kill in range(25):
        read, write = os.pipe()
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(folder, write))
        process.start()
        os.close(write)
        with open(read) as lines:
            reported = int(lines.readline())
            time.sleep(0.0007 * kill)
            process.kill()
            reported = int([str(reported), *lines.read().split()][-1])
        process.join()
        store = Checkpoints(folder)
        path, refused = store.newest_valid()
        state = store.load(path).values()
        assert state["step"] in (reported, reported + 1)
        assert state["w"].eq(state["step"]).all()
        assert all(bad.suffix == ".tmp" for bad, _ in refused)
        assert reported < 2 or store.best is not None
        seen |= {name.suffix or name.name for name in folder.iterdir()}
    assert ".tmp" in seen  # some kills did come in the middle of a save
