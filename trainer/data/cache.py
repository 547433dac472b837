"""Work on data that is done once for the same content, by one process, whoever asks.

A result is a folder named by the hash of all that it depends on: ``data.arrow`` and ``meta.json``, which holds the size
and hash of the former and is renamed into place with it. What is partial or altered does not match and is made again.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash
from filelock import FileLock, Timeout

from trainer.errors import DiskError

VERSION = 1  # raise it when the content of a result changes for the same inputs
READ = 1 << 22

Say = Callable[[str], None]  # given a whole line of progress, at most about once a second
Build = Callable[[Path, Say], dict[str, Any]]


def silent(line: str) -> None:
    """Say nothing."""


def default_folder() -> Path:
    """``TRIVIUM_CACHE``, or ``trivium`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TRIVIUM_CACHE") or Path(base) / "trivium")


def digest(*parts: Any) -> str:
    """A hash of plain values (what JSON can hold), 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True).encode())


def digest_file(path: Path) -> str:
    """A hash of a file's content, 32 hex digits; reads at the speed of the disk."""
    state = xxhash.xxh3_128()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(READ):
            state.update(chunk)
    return state.hexdigest()


def once(
    kind: str, key: str, build: Build, folder: Path | None = None, say: Say = silent
) -> tuple[Path, dict[str, Any]]:
    """The file that ``build`` writes and the facts it returns, from the cache where whole, else made by one process.

    kind    what is made ("rows", "features"), a folder of its own
    key     hash of everything the content depends on
    build   build(path, say) writes ``path`` and returns facts for later users; its lines reach waiting processes too

    Facts have ``hash`` besides, that of the file's content.

    DiskError where the cache cannot be written.
    """
    folder = (folder or default_folder()) / kind
    place = folder / key
    if (facts := _facts(place)) is not None:
        return place / "data.arrow", facts
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(FileLock(folder / f"{key}.lock"), folder / f"{key}.progress", say) as announce:
            if (facts := _facts(place)) is None:
                facts = _build(place, build, announce)
    except OSError as error:
        raise DiskError(
            f"cannot keep prepared data: {error.filename or place}: {error.strerror}. "
            "Free some space, or set TRIVIUM_CACHE to a folder elsewhere"
        ) from error
    return place / "data.arrow", facts


def _build(place: Path, build: Build, say: Say) -> dict[str, Any]:
    part = place.with_suffix(".tmp")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed; the lock is ours
    part.mkdir()
    try:
        facts = build(part / "data.arrow", say)
        data = part / "data.arrow"
        meta = {"size": data.stat().st_size, "hash": digest_file(data), "facts": facts}
        (part / "meta.json").write_text(json.dumps(meta))
        shutil.rmtree(place, ignore_errors=True)  # altered; who reads it still has its pages
        part.rename(place)
        return facts | {"hash": meta["hash"]}
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _facts(place: Path) -> dict[str, Any] | None:
    """The facts of a result that is whole, else None."""
    try:
        meta = json.loads((place / "meta.json").read_text())
        data = place / "data.arrow"
        if data.stat().st_size == meta["size"] and digest_file(data) == meta["hash"]:
            return meta["facts"] | {"hash": meta["hash"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


@contextmanager
def _held(lock: FileLock, progress: Path, say: Say):
    """Hold the lock, passing on the holder's progress while waiting; yields a ``say`` that others can follow.

    The lock is the system's: it ends with its process, however that ends.
    """
    said = ""
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            line = progress.read_text() if progress.exists() else "another process prepares the data"
            if line != said:
                said = line
                say(f"waiting: {line}")
    who, last = f"process {os.getpid()} on {socket.gethostname()}", 0.0

    def announce(line: str) -> None:
        nonlocal last
        if time.monotonic() - last < 1:
            return
        last = time.monotonic()
        say(line)
        aside = progress.with_suffix(".line")
        aside.write_text(f"{line} ({who})")
        aside.replace(progress)

    try:
        yield announce
    finally:
        progress.unlink(missing_ok=True)
        lock.release()
