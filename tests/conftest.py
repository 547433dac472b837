"""What every test runs under: one thread, no hub, no tracker that phones home, caches of its own that vanish."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Read by the libraries when they are imported, so set before any test module is. One thread a process, because the
# suite runs on as many processes as there are cores; CUBLAS's setting is what deterministic algorithms ask for.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", WANDB_MODE="offline", TF_CPP_MIN_LOG_LEVEL="3")

if "HF_HOME" not in os.environ:
    os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="trivium-tests-")
    atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

settings.register_profile("house", deadline=None)  # time is never asserted: these machines are shared
settings.load_profile("house")


def pytest_collection_modifyitems(items):
    """Skip tests marked ``gpu`` where there is no accelerator; torch is imported only if there is such a test."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no accelerator on this machine"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the checkout, with real data; where it is absent the test is skipped."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return folder
