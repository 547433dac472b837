"""Programs are made once for all test processes, and JAX compiles fast code slowly, so it is told not to."""

import os

import pytest

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # read when JAX is imported, which no test module did yet


@pytest.fixture(scope="session", autouse=True)
def programs(tmp_path_factory):
    """The folder where programs are kept: one for a session, whatever number of processes it has, or the one that is set."""
    place = tmp_path_factory.getbasetemp()
    shared = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    with pytest.MonkeyPatch.context() as patch:
        if "TRIVIUM_CACHE" not in os.environ:
            patch.setenv("TRIVIUM_CACHE", str(shared / "programs"))
        yield
