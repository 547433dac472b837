"""``python -m trainer.checkpoint verify FOLDER``: is every file of a checkpoint, or of a folder of them, as written?

``python -m trainer.checkpoint export FOLDER FILE``: the model's weights as one safetensors file, by Trivium's names. For the
published layout see ``python -m recipes.export``.
"""

import argparse
import sys
from pathlib import Path

from trainer.checkpoint import manifest
from trainer.errors import TrainerError


def main(arguments: list[str] | None = None) -> int:
    """The exit code: of ``verify`` 0 when all are whole, 3 when one is not or there is none."""
    parser = argparse.ArgumentParser(prog="python -m trainer.checkpoint")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="read every byte and compare with the manifest")
    verify.add_argument("folder", type=Path, help="a checkpoint, a folder of checkpoints, or a run")
    export = commands.add_parser("export", help="write the model's weights as one safetensors file, by Trivium's names")
    export.add_argument("folder", type=Path, help="a checkpoint, or a folder of checkpoints or a run: its newest")
    export.add_argument("file", type=Path, help="what to write: model.safetensors")
    given = parser.parse_args(arguments)
    if given.command == "verify":
        return _verify(given.folder)
    try:
        return _export(given.folder, given.file)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _verify(folder: Path) -> int:
    found = [folder] if (folder / manifest.NAME).exists() or folder.name.startswith("step_") else []
    found += [path for path in sorted(folder.rglob("step_*")) if path.is_dir() and not path.is_symlink()]
    if not found:
        print(f"error: no checkpoint (step_N) in {folder}", file=sys.stderr)
        return 3
    bad = 0
    for path in found:
        reason = manifest.problem(path)
        bad += reason is not None
        if reason:
            print(f"{path}  REFUSED  {reason}")
            continue
        body = manifest.read_manifest(path)
        size = sum(entry["size"] for entry in body["files"].values())
        print(f"{path}  ok  step {body['step']}, {len(body['files'])} files, {size / 2**20:,.1f} MiB")
    return 3 if bad else 0


def _export(folder: Path, file: Path) -> int:
    from trainer.checkpoint import export

    saved = export.find(folder)
    size = export.export(saved, file)
    print(f"{file}  {len(saved.weights())} tensors of {saved.path}, {size / 2**20:,.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
