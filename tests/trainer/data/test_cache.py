"""Work is done once for the same content, by one process, and what is partial or altered is done again."""

import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
import xxhash

from trainer.data import cache
from trainer.errors import DiskError

FACTS = {"size": 7, "hash": xxhash.xxh3_128_hexdigest(b"content")}


class Builder:
    """Writes ``content`` and counts how often."""

    def __init__(self, content=b"content"):
        self.content, self.calls = content, 0

    def __call__(self, path, say):
        self.calls += 1
        say(f"line {self.calls}")
        path.write_bytes(self.content)
        return {"size": len(self.content)}


def test_once(tmp_path):
    build, said = Builder(), []
    path, facts = cache.once("rows", "key", build, tmp_path, said.append)
    assert path.read_bytes() == b"content" and facts == FACTS and said == ["line 1"]
    assert cache.once("rows", "key", build, tmp_path) == (path, facts) and build.calls == 1
    cache.once("rows", "other", build, tmp_path)
    cache.once("features", "key", build, tmp_path)
    assert build.calls == 3


def truncate(place):
    path = place / "data.arrow"
    path.write_bytes(path.read_bytes()[:-1])


def flip(place):
    path = place / "data.arrow"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def no_data(place):
    (place / "data.arrow").unlink()


def no_meta(place):
    (place / "meta.json").unlink()


def broken_meta(place):
    (place / "meta.json").write_text("{")


@pytest.mark.parametrize("damage", [truncate, flip, no_data, no_meta, broken_meta], ids=lambda f: f.__name__)
def test_what_is_damaged_is_made_again(tmp_path, damage):
    build = Builder()
    path, _ = cache.once("rows", "key", build, tmp_path)
    damage(path.parent)
    again, facts = cache.once("rows", "key", build, tmp_path)
    assert again.read_bytes() == b"content" and facts == FACTS and build.calls == 2


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(path, say):
        path.write_bytes(b"half")
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        cache.once("rows", "key", fail, tmp_path)
    assert not [path for path in (tmp_path / "rows").iterdir() if path.suffix != ".lock"]
    assert cache.once("rows", "key", Builder(), tmp_path)[0].read_bytes() == b"content"


def build_slowly(path, say):
    say("preparing 10 of 20 rows")
    (path.parent.parent / "started").touch()
    time.sleep(0.6)
    with open(path.parent.parent / "calls", "a") as calls:
        calls.write("x")
    path.write_bytes(b"content")
    return {}


def in_another_process(folder, build=build_slowly):
    process = multiprocessing.get_context("fork").Process(target=cache.once, args=("rows", "key", build, folder))
    process.start()
    while not (folder / "rows" / "started").exists():
        time.sleep(0.01)
    return process


def test_others_wait_and_follow(tmp_path):
    """One process builds; three threads with their own locks wait, are told how far it is, and read its result."""
    process, said, results = in_another_process(tmp_path), [], []
    threads = [
        threading.Thread(target=lambda: results.append(cache.once("rows", "key", build_slowly, tmp_path, said.append)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    process.join()
    assert [path.read_bytes() for path, _ in results] == [b"content"] * 3
    assert (tmp_path / "rows" / "calls").read_text() == "x"
    assert said[0].startswith(f"waiting: preparing 10 of 20 rows (process {process.pid} on ")


def build_for_ever(path, say):
    path.write_bytes(b"half")
    (path.parent.parent / "started").touch()
    time.sleep(60)


def test_a_killed_builder_holds_nobody_up(tmp_path):
    process = in_another_process(tmp_path, build_for_ever)
    process.kill()
    process.join()
    assert (tmp_path / "rows" / "key.tmp" / "data.arrow").exists()
    assert cache.once("rows", "key", Builder(), tmp_path)[0].read_bytes() == b"content"
    assert not (tmp_path / "rows" / "key.tmp").exists()


def test_a_disk_that_takes_no_more(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(DiskError, match=r"cannot keep prepared data: .*TRIVIUM_CACHE"):
            cache.once("rows", "key", Builder(b"x" * (1 << 17)), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"cannot keep prepared data: .*file.*TRIVIUM_CACHE"):
        cache.once("rows", "key", Builder(), tmp_path / "file")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("TRIVIUM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "trivium"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_folder() == Path(os.path.expanduser("~")) / ".cache" / "trivium"
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "here"))
    assert cache.default_folder() == tmp_path / "here"


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10_000_000)
    (tmp_path / "b").write_bytes(b"x" * 9_999_999 + b"y")
    assert cache.digest_file(tmp_path / "a") != cache.digest_file(tmp_path / "b")
    assert cache.digest("a", {"x": 1, "y": 2}) == cache.digest("a", {"y": 2, "x": 1}) != cache.digest("a", {"x": 1})
