"""``python -m recipes.export RUN FOLDER``: a checkpoint of a run in the published layout, also while the run goes on.

Weights pass from disk to disk, a tensor and a file of the result at a time: no process holds a whole model.
"""

import argparse
import shutil
import sys
from pathlib import Path

import catalog
from catalog.building import skeleton
from catalog.errors import CatalogError
from trainer.checkpoint.export import find
from trainer.errors import DataError, TrainerError
from trainer.strategies.state import tensors


def export(source: Path, folder: Path, shard_bytes: int = 5_000_000_000) -> str:
    """Write a checkpoint ``step_N`` of a run, or its newest whole one, to ``folder``; a line that says what was written.

    Architecture, labels and processor are those that the run wrote down in ``model/`` when it began. Raises the errors of
    trainer and catalog.
    """
    saved = find(source)
    described = saved.path.parent.parent / "model"
    name, head, config = catalog.read_config(described)
    model, weights = skeleton(name, config, head), saved.weights()
    if differ := sorted(tensors(model).keys() ^ weights.keys()):
        raise DataError(
            f"{saved.path} does not hold a plain {name}: {len(differ)} tensors differ ({differ[0]}, ...)\n   "
            f"with adapters, let the run end: python train.py resume={described.parent}"
        )
    catalog.save(model, folder, weights=weights, shard_bytes=shard_bytes)
    for file in described.iterdir():  # the processor's
        if file.is_file() and file.name != "config.json" and not file.name.startswith((".", "model")):
            shutil.copyfile(file, folder / file.name)
    return f"{folder}  {name} of {saved.path} in the published layout"


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m recipes.export", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run (its newest whole checkpoint), or one of its checkpoints/step_N")
    parser.add_argument("folder", type=Path, help="where to write the model")
    given = parser.parse_args(arguments)
    try:
        print(export(given.run, given.folder))
    except (TrainerError, CatalogError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
