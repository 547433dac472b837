"""SIGKILL at any instant: in a forward pass, between them, while files are written and renamed, in an evaluation."""

import os
import signal

import pytest
import torch

from tests.support import training
from trainer.checkpoint import files
from trainer.checkpoint.store import Checkpoints

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def options(background):
    return training.config(epochs=2, log_every=3, eval_every=4, save_every=3, background=background)


class Killer:
    """Counts instants and kills the process at the one it was made for."""

    def __init__(self, instant):
        self.left = instant

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function):
        def counted(*args, **kwargs):
            self()
            result = function(*args, **kwargs)
            self()
            return result

        return counted


def trainer(folder, killer=None, background=False):
    task = training.Task(weight=0.5)
    if killer is not None:
        task.terms = killer.around(task.terms)
    return training.trainer(folder, task=task, options=options(background))


def killed_at(instant, folder, resume, background=False):
    """Train in a child until that instant; whether it was killed there (else it came to the end)."""
    if (child := os.fork()) == 0:
        killer = Killer(instant)
        for module, name in (
            (files, "write"),
            (files, "sync_folder"),
            (Checkpoints, "_point"),
            (Checkpoints, "_retire"),
        ):
            setattr(module, name, killer.around(getattr(module, name)))
        try:
            trainer(folder, killer, background).fit(resume=resume)
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    whole = trainer(tmp_path_factory.mktemp("whole"))
    whole.fit()
    return {name: tensor.clone() for name, tensor in whole.model.state_dict().items()} | {"draw": torch.rand(3)}


def finish(folder):
    resumed = trainer(folder)
    resumed.fit(resume=True)
    return resumed.model.state_dict() | {"draw": torch.rand(3)}


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("instant", [*range(4, 180, 11)])
def test_the_resumed_run_ends_as_the_one_that_was_never_killed(tmp_path, expected, instant, background):
    assert killed_at(instant, tmp_path, False, background)
    found = finish(tmp_path)
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())


def test_killed_again_and_again(tmp_path, expected):
    kills = 0
    for n in range(50):
        if not killed_at(70 + 7 * n, tmp_path, resume=n > 0):
            break
        kills += 1
    assert kills >= 2, "it was killed more than once on its way"
    found = finish(tmp_path)
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())
