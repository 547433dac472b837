"""Peak memory of a program, measured from outside what it loads: a process of its own reads its high-water mark."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import json, sys, time
from catalog import loading, registry
import accelerate, torch

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

folder, model, dtype = sys.argv[1:]
registry.page(model)
baseline, start = peak(), time.perf_counter()
loaded = loading.load(folder, dtype=getattr(torch, dtype) if dtype else None)
seconds = time.perf_counter() - start
size = sum(p.nbytes for p in loaded.parameters())
largest = max(p.nbytes for p in loaded.parameters())
print(json.dumps({"baseline": baseline, "peak": peak(), "seconds": seconds, "model": size, "largest": largest}))
"""


_PEAKS = """
import json, sys
sys.path.insert(0, "")

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def measured(work):
    work()  # what is only loaded or cached once is not counted
    open("/proc/self/clear_refs", "w").write("5")  # the mark falls to what is in use now
    before = peak()
    work()
    return peak() - before

{body}
print(json.dumps(figures))
"""


def peaks_in_a_process(body: str) -> dict[str, float]:
    """What ``body`` puts into ``figures``; it has ``measured(work)``, the bytes that a call needs above what is in use."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc here to read the high-water mark of memory from")
    run = subprocess.run(
        [sys.executable, "-c", _PEAKS.replace("{body}", body)], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def load_in_a_process(folder: Path, model: str, dtype: str = "") -> dict[str, float]:
    """Bytes: ``baseline`` (all imported), ``peak`` after loading, ``model`` and its ``largest`` tensor; and ``seconds``."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here to read the high-water mark of memory from")
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), model, dtype], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
