"""``python -m trainer.checkpoint verify FOLDER``: is every file of a checkpoint, or of a folder of them, as written?"""

import argparse
import sys
from pathlib import Path

from trainer.checkpoint import manifest


def main(arguments: list[str] | None = None) -> int:
    """0 when all are whole, 3 when one is not or there is none."""
    parser = argparse.ArgumentParser(prog="python -m trainer.checkpoint")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="read every byte and compare with the manifest")
    verify.add_argument("folder", type=Path, help="a checkpoint, a folder of checkpoints, or a run")
    folder = parser.parse_args(arguments).folder
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


if __name__ == "__main__":
    sys.exit(main())
