"""Every registered model passes every gate in every framework.

A new page is covered the moment its golden files are here.
"""

import pytest

from catalog import registry
from tests.support import gates, ports

NEEDS = {"torch": "torch", "flax": "flax", "tf": "tensorflow"}


def test_every_model_is_on_trial():
    assert set(ports.CHOSEN) == set(registry.PAGES)


@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize("model", ports.CHOSEN)
def test_gates(model, framework):
    pytest.importorskip(NEEDS[framework])
    found = gates.results(ports.CHOSEN[model], framework)
    failed = [f"{gate}: {words}" for gate, words in found.items() if words.startswith("failed")]
    assert not failed, "\n".join(failed)
