"""Whole runs under every sharded strategy against one process, in float64: losses, norms, weights, metrics, predictions.

Two steps of every model, layout and way of accumulating are compared in ``test_grid.py``; here are epochs with evaluations.
All cells of one number of processes share a launch, for importing PyTorch is what takes long. A strategy of another module
adds its cells to ``TWO`` or ``FOUR``.
"""

import pytest

from tests.equivalence.test_ddp import close, launch

FSDP, HSDP = {"strategy": "fsdp"}, {"strategy": "hsdp"}
TP, FSDP_TP, CP = {"strategy": "tp"}, {"strategy": "fsdp_tp", "options": {"tp": 2}}, {"strategy": "cp"}
PP, PP_FSDP, INTERLEAVED = {"strategy": "pp"}, {"strategy": "pp_fsdp"}, {"schedule": "interleaved"}
DEEP = {"model": "gpt2", "sizes": {"depth": 5}, "accumulate": 4}  # stages of one and two blocks, tied at both ends
AGAIN = {"sections": {"memory": {"activations": "full"}}}
TWO = [
    {"name": "fsdp albert", "model": "albert", **FSDP},  # one block, computed twice
    {"name": "fsdp gpt2", "model": "gpt2", "accumulate": 2, **FSDP},
    {"name": "fsdp vit", "model": "vit", **FSDP},
    {"name": "fsdp kept whole", "model": "llama", "accumulate": 3, **FSDP, "options": {"reshard": False}},
    {"name": "fsdp offloaded", "model": "llama", **FSDP, "options": {"offload": True}},
    {"name": "fsdp unpadded", "tokens": 24, **FSDP},
    {"name": "fsdp single rows", "size": 1, "accumulate": 2, "clip": None, **FSDP},  # the second never has a share
    *({"name": f"{way['strategy']} gpt2", "model": "gpt2", "accumulate": 2, **way} for way in (TP, CP)),
    *({"name": f"{way['strategy']} recomputed", "model": "t5", **way, **AGAIN} for way in (TP, CP)),
    *({"name": f"{way['strategy']} unpadded", "tokens": 24, **way} for way in (TP, CP, PP)),
    {"name": "pp interleaved", **DEEP, **PP, "options": INTERLEAVED},  # the last step of an epoch has two micro batches
    {"name": "pp gpipe", "model": "llama", "accumulate": 3, **PP, "options": {"schedule": "gpipe"}},
]
FOUR = [
    {"name": "hsdp gpt2", "model": "gpt2", "accumulate": 2, **HSDP},
    {"name": "hsdp t5", "model": "t5", **HSDP, "options": {"replicas": 2}},
    {"name": "hsdp kept whole", "model": "llama", "accumulate": 2, **HSDP, "options": {"reshard": False}},
    {"name": "fsdp_tp gpt2", "model": "gpt2", "accumulate": 2, **FSDP_TP},
    {"name": "fsdp_tp unpadded", "tokens": 24, **FSDP_TP},
    {"name": "cp of two pairs", "model": "llama", **CP, "options": {"cp": 2}},
    {"name": "pp_fsdp interleaved", **DEEP, **PP_FSDP, "options": INTERLEAVED},
    {"name": "pp_fsdp llama", "model": "llama", "accumulate": 3, **PP_FSDP},
    {"name": "pp_fsdp unpadded", "tokens": 24, **PP_FSDP},
]
CELLS = [*TWO, *FOUR]


def training(cell):
    """What of a cell matters to one process."""
    return {key: value for key, value in cell.items() if key not in ("name", "strategy", "options")}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process gives in every cell; those that differ in their strategy alone are one training."""
    different = [cell for i, cell in enumerate(CELLS) if training(cell) not in map(training, CELLS[:i])]
    found = launch(tmp_path_factory.mktemp("one"), different, 1)[0]
    return {
        cell["name"]: found[same["name"]] for cell in CELLS for same in different if training(same) == training(cell)
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("two"), TWO, 2)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("four"), FOUR, 4)


def compare(expected, results):
    assert len(expected["steps"]) > 5 and len(expected["evals"]) == 2
    for found in results:
        for what in ("loss_at_0", "steps", "evals", "weights", "predictions"):
            assert close(expected[what], found[what]), what


@pytest.mark.parametrize("name", [cell["name"] for cell in TWO])
def test_two_processes_learn_what_one_does(one, two, name):
    compare(one[name], [result[name] for result in two])


@pytest.mark.parametrize("name", [cell["name"] for cell in FOUR])
def test_four_processes_learn_what_one_does(one, four, name):
    compare(one[name], [result[name] for result in four])
