"""Every sharded strategy against one process, in float64: losses, gradient norms, weights, metrics, predictions.

All cells of one number of processes share a launch, for importing PyTorch is what takes long. A strategy of another module
adds its cells to ``TWO`` or ``FOUR``.
"""

import pytest

from tests.equivalence.test_ddp import close, launch

FSDP, HSDP = {"strategy": "fsdp"}, {"strategy": "hsdp"}
TWO = [
    {"name": "fsdp bert", "model": "bert", **FSDP},
    {"name": "fsdp albert", "model": "albert", **FSDP},  # one block, computed twice
    {"name": "fsdp gpt2", "model": "gpt2", "accumulate": 2, **FSDP},
    {"name": "fsdp llama", "model": "llama", **FSDP},
    {"name": "fsdp t5", "model": "t5", **FSDP},
    {"name": "fsdp vit", "model": "vit", **FSDP},
    {"name": "fsdp kept whole", "model": "llama", "accumulate": 3, **FSDP, "options": {"reshard": False}},
    {"name": "fsdp offloaded", "model": "llama", **FSDP, "options": {"offload": True}},
    {"name": "fsdp recomputed", "model": "t5", **FSDP, "sections": {"memory": {"activations": "full"}}},
    {"name": "fsdp unpadded", "tokens": 24, **FSDP},
    {"name": "fsdp accumulated", "tokens": 16, "accumulate": 3, **FSDP},
    {"name": "fsdp single rows", "size": 1, "accumulate": 2, "clip": None, **FSDP},  # the second never has a share
]
FOUR = [
    {"name": "hsdp gpt2", "model": "gpt2", "accumulate": 2, **HSDP},
    {"name": "hsdp t5", "model": "t5", **HSDP, "options": {"replicas": 2}},
    {"name": "hsdp kept whole", "model": "llama", "accumulate": 2, **HSDP, "options": {"reshard": False}},
    {"name": "fsdp of four", "model": "bert", **FSDP},
]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process gives in every cell."""
    return launch(tmp_path_factory.mktemp("one"), [*TWO, *FOUR], 1)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("two"), TWO, 2)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("four"), FOUR, 4)


def compare(expected, results):
    assert len(expected["steps"]) > 8 and len(expected["evals"]) == 2
    for found in results:
        for what in ("loss_at_0", "steps", "evals", "weights", "predictions"):
            assert close(expected[what], found[what]), what


@pytest.mark.parametrize("name", [cell["name"] for cell in TWO])
def test_two_processes_learn_what_one_does(one, two, name):
    compare(one[name], [result[name] for result in two])


@pytest.mark.parametrize("name", [cell["name"] for cell in FOUR])
def test_four_processes_learn_what_one_does(one, four, name):
    compare(one[name], [result[name] for result in four])
