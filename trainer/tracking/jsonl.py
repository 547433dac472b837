"""``log.jsonl``: the whole course of a run, one JSON object a line, readable while it runs and after any end.

Every line has ``event``, ``time`` (seconds since 1970) and ``step`` (optimizer steps done). Events and their fields:

    start     device dtype strategy parameters trainable steps (of the run) resumed_from (a checkpoint)
    check     rows supervised (share with a target) worst_slots (positions of the largest batch) peak_bytes (of memory,
              on that batch) leak (false: no sequence reaches its neighbours; absent where that cannot be told) loss_at_0
              (by term, only at step 0)
    lr        warmup peak points: the learning rate at 0, 10, 50 and 100% of the run, [[step, lr], ...]
    formats   weights frozen gradients optimizer, each {number format: bytes on the first process}, measured at the first
              step that changes weights; computed: the format of matrix products
    step      epoch, loss (mean since the last such line), lr, grad_norm, tokens and examples (so far), and since the last
              such line: tokens_per_second, examples_per_second, seconds_per_step, data_wait (share of that time),
              padding (share of the computed positions); on a GPU peak_bytes
    eval      set (name of the data) rows seconds best (true or false), and one field a metric: loss, accuracy, ...
    save      path seconds (that training stood still) written (seconds until it was on the disk) bytes reason (planned,
              best, end, stop)
    skip      rows (the first 32 of the batch) loss grad_norm in_row
    rollback  to (the step of the checkpoint) rows
    refused   path why (a checkpoint that is not whole)
    stop      reason
    done      metrics best best_step seconds ledger (seconds of each account) reason (of an early end)

A run that is resumed adds to the file, beginning with ``start``; where a step stands twice, the later line holds.
Numbers that are not finite are written as ``null``.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.errors import DiskError


class JsonLines:
    """Appends events to ``path``; each line is handed to the system at once. Raises :class:`DiskError` when it cannot."""

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut_torn_line(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as e:
            raise _unwritable(path, e) from None

    def log(self, event: str, fields: Mapping[str, Any]) -> None:
        line = json.dumps(_plain({"event": event, "time": round(time.time(), 3), **fields}), allow_nan=False)
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as e:
            raise _unwritable(self.path, e) from None

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as e:
            raise _unwritable(self.path, e) from None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _cut_torn_line(path: Path) -> None:
    """Drop what a killed run left of its last line."""
    if not path.exists():
        return
    with path.open("rb+") as f:
        end = start = f.seek(0, os.SEEK_END)
        tail = b""
        while start and b"\n" not in tail:
            start = max(0, start - 4096)
            f.seek(start)
            tail = f.read()
        whole = start + tail.rfind(b"\n") + 1
        if whole < end:
            f.truncate(whole)


def _unwritable(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"cannot write the log {path}: {error.strerror}. Free some space or set run_dir to another disk; "
        "the checkpoints of this run are untouched"
    )
