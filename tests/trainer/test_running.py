"""Running averages of batch normalisation: of rows that count, and the same on every process."""

import torch
from torch import nn

from tests.support import training
from trainer.precision import Precision
from trainer.step import Stepper
from trainer.strategies.single import Single

CPU = torch.device("cpu")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.norm(x))


class Task:
    targets = ()

    def counts(self, model, batch):
        return {"loss": len(batch["rows"])}

    def terms(self, model, batch):
        found = model(batch["x"])
        return found, {"loss": training.Term(found.square().sum(), len(found))}


class Half(Single):
    """One of two processes, which is alone here: ``other`` is what the other one adds to each sum."""

    lockstep, other = True, staticmethod(lambda values: 0 * values)

    def shard_of_batch(self):
        return 0, 2

    def total(self, values):
        return values + self.other(values)


class Feed:
    def one(self):
        return batch(100, 1)


def batch(seed, rows):
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    return {"x": x * 3 + 5, "rows": torch.arange(rows)}


def stepper():
    torch.manual_seed(0)
    strategy = Half(training.spread("single"), CPU, Precision("fp32", CPU))
    model = strategy.setup(Net())
    strategy.optimizer(training.config().optim)
    return model, Stepper(model, Task(), strategy, None, Feed())


def test_a_row_that_stands_in_moves_no_average():
    """It would not even be computed: in training there is no variance of one row."""
    (one, alone), (two, both) = stepper(), stepper()
    alone([batch(1, 6)], 0.1)
    both([batch(1, 6), batch(2, 0)], 0.1)
    assert (two.norm.running_mean - 5 * 0.1).abs().max() < 0.4 and two.norm.training
    for name, expected in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], expected)


def test_averages_are_the_mean_over_processes_by_their_rows():
    model, step = stepper()
    theirs = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], dtype=torch.float64)  # means and variances
    mine, _ = stepper()
    mine.train()(batch(1, 6)["x"])
    step.strategy.other = lambda v: torch.cat([theirs * 2, theirs.new_tensor([2])]) if v.numel() == 9 else 0 * v
    step([batch(1, 6)], 0.0)
    found = torch.cat([model.norm.running_mean, model.norm.running_var]).double()
    own = torch.cat([mine.norm.running_mean, mine.norm.running_var]).double()
    torch.testing.assert_close(found, (6 * own + 2 * theirs) / 8, rtol=1e-6, atol=1e-6)


def test_a_process_without_rows_takes_what_others_have():
    model, step = stepper()
    theirs = torch.arange(8.0, dtype=torch.float64)
    step.strategy.other = lambda v: torch.cat([theirs * 2, theirs.new_tensor([2])]) if v.numel() == 9 else 0 * v
    step([batch(2, 0)], 0.0)
    torch.testing.assert_close(model.norm.running_mean.double(), theirs[:4])
    torch.testing.assert_close(model.norm.running_var.double(), theirs[4:])
