"""SIGKILL at thirty random instants of forward passes, saves and evaluations: the resumed run ends as the whole one."""

import os
import random

import pytest
import torch

from tests.trainer import test_kill as kill

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
INSTANTS = sorted(random.Random(5).sample(range(1, 180), 30))
expected = kill.expected  # the end of the run that nobody kills


@pytest.mark.parametrize("instant", INSTANTS)
def test_the_end_is_the_same_to_the_bit(tmp_path, expected, instant):
    assert kill.killed_at(instant, tmp_path, resume=False)
    found = kill.finish(tmp_path)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
