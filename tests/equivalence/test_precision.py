"""Half formats on two processes: copies of weights never part, and what is learnt is what one process learns, closely."""

import pytest

from tests.equivalence.test_ddp import launch

PURE, HALVED = {"precision": {"dtype": "bf16_pure"}}, {"precision": {"dtype": "fp32", "reduce": "bf16"}}
CELLS = [
    {"name": "ddp pure", "tokens": 24, "sections": PURE},
    {
        "name": "ddp pure, added up in fp32",
        "tokens": 24,
        "sections": {"precision": {"dtype": "bf16_pure", "reduce": "fp32"}},
    },
    {"name": "fsdp pure", "tokens": 24, "strategy": "fsdp", "sections": PURE},
    {"name": "ddp halved traffic", "tokens": 24, "sections": HALVED},
    {"name": "fsdp halved traffic", "tokens": 24, "strategy": "fsdp", "sections": HALVED},
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process and two give; each strategy has processes of its own, as in any run."""
    one, divided = launch(tmp_path_factory.mktemp("one"), CELLS, 1), [{}, {}]
    for strategy in ("ddp", "fsdp"):
        cells = [cell for cell in CELLS if cell.get("strategy", "ddp") == strategy]
        for seen, result in zip(divided, launch(tmp_path_factory.mktemp(strategy), cells, 2)):
            seen.update(result)
    return one, divided


@pytest.mark.parametrize("name", [cell["name"] for cell in CELLS])
def test_two_processes_agree_and_learn_what_one_does(found, name):
    (one,), (first, second) = ([result[name] for result in results] for results in found)
    assert first["weights"] == second["weights"], "to the bit"
    assert first["weights"] != one["weights"], "a sum in another order, or another format, would not show"
    losses = [[step[0] for step in result["steps"].values()] for result in (one, first)]
    assert len(losses[0]) == len(losses[1]) > 8
    assert losses[1] == pytest.approx(losses[0], rel=0.03), "bf16 has three digits"
