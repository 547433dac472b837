"""A folder of checkpoints: saved whole or not at all, the newest and the best kept."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.checkpoint import files, manifest, tree
from trainer.checkpoint.parts import Index, Parts, Staging
from trainer.checkpoint.saved import INDEX, OWN, Saved, tensors_of, values_of
from trainer.errors import DataError, DiskError

OTHERS = "To see the others: python -m trainer.checkpoint verify"


class Checkpoints:
    """The checkpoints of one run, ``folder/step_N``. Every method is called by all processes of the run together.

    keep    how many of the newest stay; the pinned one stays besides
    rank    which of the processes this is: each writes its parts, rank 0 commits
    gather  called on every rank together: what each of them gave, in their order. It is called from a thread, beside
            whatever the processes tell one another meanwhile
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = 2,
        rank: int = 0,
        gather: Callable[[Any], list[Any]] = lambda value: [value],
    ):
        self.folder, self.keep, self.rank, self._gather = Path(folder), max(1, keep), rank, gather
        self._parts, self._staging = Parts(rank, gather), Staging()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._flight: Future[None] | None = None
        self.took = 0.0  # seconds from the last save's call until it was on the disk
        self._whole: set[Path] = set()  # hashed by this run, or written by it

    def save(
        self, step: int, own: Any, tensors: Mapping[str, Tensor] | None = None, pin: bool = False, wait: bool = True
    ) -> Path:
        """Save ``tensors`` and what each process has of its ``own`` as ``step_N``; with ``pin`` it becomes the best.

        Durable when this returns; with ``wait=False`` it returns when everything is copied to main memory, and a thread
        writes the copy: :meth:`finish` says when it is durable, and a save that is still under way is finished first.

        DiskError names the file that could not be written and the last good checkpoint, which is untouched.
        TypeError names a value that a checkpoint cannot hold.
        """
        self.finish()
        began = time.perf_counter()
        nodes, mine = tree.flatten(own)
        kept = {OWN + name: tensor for name, tensor in mine.items()} | self._parts.of(tensors or {})
        text, index, path = json.dumps(nodes).encode(), self._parts.index, self.folder / f"step_{step}"
        if not wait:
            kept = self._staging.copy(kept)

        def write() -> None:
            self._write(path, kept, text, index, pin)
            self.took = time.perf_counter() - began

        if wait:
            write()
        else:
            self._flight = self._thread.submit(write)
        return path

    def finish(self) -> None:
        """Wait for the save that is under way, if one is. Raises its DiskError."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.result()

    def _write(self, path: Path, tensors: dict[str, Tensor], text: bytes, index: Index, pin: bool) -> None:
        part = path.with_name(f"{path.name}.tmp")

        def open_folder() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clean()
            part.mkdir()

        def write_part() -> dict[str, dict]:
            names = tensors_of(self.rank), values_of(self.rank)
            return {
                names[0]: files.write(part / names[0], files.safetensors(tensors)),
                names[1]: files.write(part / names[1], [text]),
            }

        def commit() -> None:
            listed = {INDEX: files.write(part / INDEX, [json.dumps(index).encode()])}
            for its in written:
                listed |= its
            step = int(path.name.removeprefix("step_"))
            manifest.write_manifest(part, step, self._serial() + 1, len(written), listed)
            files.sync_folder(part)
            if path.exists():  # a run that went back; the older save stays readable as .old until the new one is there
                path.rename(path.with_suffix(".old"))
            part.rename(path)
            self._point("latest", path)
            if pin:
                self._point("best", path)
            self._retire()

        first = self.rank == 0
        self._together(open_folder if first else None, part)
        written = self._together(write_part, part)
        self._together(commit if first else None, part)
        self._whole.add(path)

    def newest_valid(self) -> tuple[Path | None, list[tuple[Path, str]]]:
        """The checkpoint saved last whose files are all as written, and those passed over with the reason.

        Rank 0 reads every byte of what it judges and tells the others.
        """
        self.finish()
        path, refused = self._gather(self._judge() if self.rank == 0 else None)[0]
        if path is not None:
            self._whole.add(path)
        return path, refused

    def _judge(self) -> tuple[Path | None, list[tuple[Path, str]]]:
        refused = [(path, "the save was cut short") for path in sorted(self.folder.glob("step_*.tmp"))]
        paths = self._paths()
        for path in [path for path in paths if not _serial(path)] + [path for path in reversed(paths) if _serial(path)]:
            reason = manifest.problem(path)
            if reason is None:
                return path, refused
            refused.append((path, reason))
        return None, refused

    def load(self, path: str | Path) -> Saved:
        """What was saved there; DataError when it is not whole."""
        self.finish()
        path = Path(path)
        if path not in self._whole:
            reason = self._gather(manifest.problem(path) if self.rank == 0 else None)[0]
            if reason:
                raise DataError(f"{path} is not a whole checkpoint: {reason}. {OTHERS} {path.parent}")
        self._whole.add(path)
        return Saved(path)

    def pin(self, path: str | Path) -> None:
        """Make a saved checkpoint the best: it is kept until another one is pinned."""
        self.finish()
        if not (self.folder / Path(path).name / manifest.NAME).is_file():
            raise DataError(f"{path} is not a checkpoint in {self.folder}. {OTHERS} {self.folder}")
        if self.rank == 0:
            self._point("best", Path(path))
        self._gather(None)

    @property
    def best(self) -> Path | None:
        """The pinned checkpoint."""
        return self._pointed("best")

    @property
    def latest(self) -> Path | None:
        """The one that was saved last."""
        return self._pointed("latest")

    def _pointed(self, name: str) -> Path | None:
        link = self.folder / name
        return self.folder / os.readlink(link) if link.exists() else None

    def _paths(self) -> list[Path]:
        """Checkpoints in the order they were saved; those whose manifest cannot be read come first."""
        found = [path for path in self.folder.glob("step_*") if path.is_dir() and path.suffix != ".tmp"]
        return sorted(found, key=lambda path: (_serial(path), path.name))

    def _serial(self) -> int:
        return max((_serial(path) for path in self._paths()), default=0)

    def _together(self, action: Callable[[], Any] | None, part: Path) -> list[Any]:
        """A step of the save: what it gave on each rank. Failed on any, the save is taken back, and all of them raise."""
        error = given = None
        try:
            if action:
                given = action()
        except OSError as problem:
            error = problem
        votes = self._gather((error is None, given))
        if all(fine for fine, _ in votes):
            return [given for _, given in votes]
        if self.rank == 0:
            shutil.rmtree(part, ignore_errors=True)
        last = next(reversed(self._paths()), None)
        kept = f"The last good checkpoint is {last}" if last else "No checkpoint was saved before"
        if error is None:
            raise DiskError(f"cannot save {part.stem}: another rank could not write its part. {kept}")
        raise DiskError(
            f"cannot save {part.stem}: {error.filename or part}: {error.strerror}{_free(self.folder)}. {kept}. "
            "Free some space, lower checkpoint.keep or set run_dir to another disk"
        ) from error

    def _point(self, name: str, path: Path) -> None:
        """Move the link ``latest`` or ``best`` in one rename."""
        aside = self.folder / f"{name}.tmp"
        aside.unlink(missing_ok=True)
        aside.symlink_to(path.name)
        aside.replace(self.folder / name)
        files.sync_folder(self.folder)

    def _retire(self) -> None:
        """Delete all but the newest ``keep`` and the best."""
        kept, best = self._paths(), self.best
        for path in kept[: -self.keep]:
            if path != best:
                self._delete(path)
        self._delete_all(self.folder.glob("step_*.old"))

    def _clean(self) -> None:
        """Remove what a killed save left; put back what it had moved aside."""
        for old in self.folder.glob("step_*.old"):
            if not old.with_suffix("").exists():
                old.rename(old.with_suffix(""))
        self._delete_all([*self.folder.glob("*.tmp"), *self.folder.glob("step_*.old")])

    def _delete_all(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._delete(path)

    def _delete(self, path: Path) -> None:
        """Renamed before it is emptied, so that a kill leaves no half checkpoint under a good name."""
        if path.is_symlink():
            path.unlink()
            return
        if path.suffix != ".tmp":
            path = path.rename(path.with_name(f"{path.name}.gone.tmp"))
        shutil.rmtree(path, ignore_errors=True)


def _serial(path: Path) -> int:
    try:
        return manifest.read_manifest(path)["serial"]
    except ValueError:
        return 0


def _free(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 2**20:,.1f} MiB free)"
    except OSError:
        return ""
