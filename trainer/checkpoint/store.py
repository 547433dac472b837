"""A folder of checkpoints: saved whole or not at all, the newest and the best kept."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from trainer.checkpoint import files, manifest, tree
from trainer.errors import DataError, DiskError

OTHERS = "To see the others: python -m trainer.checkpoint verify"


class Checkpoints:
    """The checkpoints of one run, ``folder/step_N``.

    keep    how many of the newest stay; the pinned one stays besides
    rank    which of the ``world`` processes this is: each saves and loads its own part, rank 0 commits
    agree   called on every rank together: True when it was given True on all of them (an all-reduce); one rank: itself
    """

    def __init__(
        self, folder: str | Path, keep: int = 2, rank: int = 0, world: int = 1, agree: Callable[[bool], bool] = bool
    ):
        self.folder, self.keep, self.rank, self.world, self._agree = Path(folder), max(1, keep), rank, world, agree
        self._whole: set[Path] = set()  # hashed by this process, or written by it

    def save(self, step: int, state: Any, pin: bool = False) -> Path:
        """Save ``state`` as ``step_N``, durable when this returns; with ``pin`` it becomes the best.

        DiskError names the file that could not be written and the last good checkpoint, which is untouched.
        TypeError names a value that a checkpoint cannot hold.
        """
        nodes, tensors = tree.flatten(state)
        part, path = self.folder / f"step_{step}.tmp", self.folder / f"step_{step}"

        def open_folder():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clean()
            part.mkdir()

        def write_part():
            name = f"rank_{self.rank}"
            written = {
                f"{name}.safetensors": files.write(part / f"{name}.safetensors", files.safetensors(tensors)),
                f"{name}.json": files.write(part / f"{name}.json", [json.dumps(nodes).encode()]),
            }
            files.write(part / f"{name}.files", [json.dumps(written).encode()])

        def commit():
            listed = {}
            for rank in range(self.world):
                listed |= json.loads((part / f"rank_{rank}.files").read_bytes())
                (part / f"rank_{rank}.files").unlink()
            manifest.write_manifest(part, step, self._serial() + 1, self.world, listed)
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
        self._together(write_part, part)
        self._together(commit if first else None, part)
        self._whole.add(path)
        return path

    def newest_valid(self) -> tuple[Path | None, list[tuple[Path, str]]]:
        """The checkpoint saved last whose files are all as written, and those passed over with the reason.

        Reads every byte of what it judges; of several ranks one asks and tells the others.
        """
        refused = [(path, "the save was cut short") for path in sorted(self.folder.glob("step_*.tmp"))]
        paths = self._paths()
        for path in [path for path in paths if not _serial(path)] + [path for path in reversed(paths) if _serial(path)]:
            reason = manifest.problem(path)
            if reason is None:
                self._whole.add(path)
                return path, refused
            refused.append((path, reason))
        return None, refused

    def load(self, path: str | Path, rank: int | None = None) -> Any:
        """The state saved there by this rank (or by ``rank``), tensors on the CPU; DataError when it is not whole."""
        path, rank = Path(path), self.rank if rank is None else rank
        if path not in self._whole and (reason := manifest.problem(path)):
            raise DataError(f"{path} is not a whole checkpoint: {reason}. {OTHERS} {path.parent}")
        saved = manifest.read_manifest(path)["world"]
        if rank >= saved:
            raise DataError(f"{path} was saved by {saved} processes and has no part for rank {rank}")
        nodes = json.loads((path / f"rank_{rank}.json").read_bytes())
        mapped = load_file(path / f"rank_{rank}.safetensors")
        tensors = {name: mapped.pop(name).clone() for name in list(mapped)}  # the file may be retired while they live
        return tree.restore(nodes, tensors)

    def pin(self, path: str | Path) -> None:
        """Make a saved checkpoint the best: it is kept until another one is pinned."""
        if not (self.folder / Path(path).name / manifest.NAME).is_file():
            raise DataError(f"{path} is not a checkpoint in {self.folder}. {OTHERS} {self.folder}")
        self._point("best", Path(path))

    @property
    def best(self) -> Path | None:
        """The pinned checkpoint."""
        link = self.folder / "best"
        return self.folder / os.readlink(link) if link.exists() else None

    def _paths(self) -> list[Path]:
        """Checkpoints in the order they were saved; those whose manifest cannot be read come first."""
        found = [path for path in self.folder.glob("step_*") if path.is_dir() and path.suffix != ".tmp"]
        return sorted(found, key=lambda path: (_serial(path), path.name))

    def _serial(self) -> int:
        return max((_serial(path) for path in self._paths()), default=0)

    def _together(self, action: Callable[[], None] | None, part: Path) -> None:
        """Run a step of the save; if it failed on any rank, take the save back and raise on all of them."""
        error = None
        try:
            if action:
                action()
        except OSError as problem:
            error = problem
        if self._agree(error is None):
            return
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
