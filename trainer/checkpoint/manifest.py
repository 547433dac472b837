"""``manifest.json``: which files a checkpoint has, how large they are, and their hashes; written last."""

import hashlib
import json
from pathlib import Path

from trainer.checkpoint.files import hash_of, write

NAME = "manifest.json"
FORMAT = 2


def render(body: dict) -> bytes:
    """The manifest's bytes: ``body`` and the hash of it, so that a change in the manifest itself shows."""
    own = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": own}, indent=1, sort_keys=True).encode()


def write_manifest(folder: Path, step: int, serial: int, world: int, files: dict[str, dict]) -> None:
    """Close a checkpoint. ``serial`` counts saves, so that newest means saved last even after a run went back."""
    body = {"format": FORMAT, "step": step, "serial": serial, "world": world, "files": files}
    write(folder / NAME, [render(body)])


def read_manifest(folder: Path) -> dict:
    """The manifest of a checkpoint; ValueError says what is wrong with it."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"no {NAME}: the save was cut short") from None
    except OSError as error:
        raise ValueError(f"{NAME} cannot be read: {error.strerror}") from None
    try:
        body = json.loads(data)
        body.pop("sha256")
        whole = render(body) == data
    except (ValueError, KeyError, AttributeError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{NAME} is damaged")
    if body["format"] != FORMAT:
        raise ValueError(f"written in format {body['format']}, this version reads {FORMAT}")
    return body


def problem(folder: Path) -> str | None:
    """Why the checkpoint cannot be trusted, or None: every file is there, as long as it was and with the same hash."""
    try:
        files = read_manifest(folder)["files"]
        for name, expected in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if (size := path.stat().st_size) != expected["size"]:
                return f"{name} has {size:,} bytes, {expected['size']:,} were written"
        for name, expected in files.items():
            if hash_of(folder / name) != expected["sha256"]:
                return f"{name} was altered: its hash is not the one in {NAME}"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    return None
