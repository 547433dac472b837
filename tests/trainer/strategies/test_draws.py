"""Random streams of processes that share a model: alike outside of what is divided, of their own inside."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainer.strategies import draws


class Block(nn.Module):
    """Dropout of what is whole, of what is divided, and of what is whole again."""

    def __init__(self, part):
        super().__init__()
        self.before, self.inside, self.after = nn.Dropout(0.5), nn.Dropout(0.5), nn.Dropout(0.5)
        if part is not None:
            draws.own(self.inside, part)

    def forward(self, x):
        return self.before(x), self.inside(x), self.after(x)


def masks(part, device="cpu", seed=3, training=True):
    """The three masks of two passes of process ``part``."""
    torch.manual_seed(seed)
    block, x = Block(part).train(training), torch.ones(4, 64, device=device)
    return [mask for _ in range(2) for mask in block(x)]


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_processes_differ_where_the_model_is_divided_and_nowhere_else(device):
    first, second = masks(0, device), masks(1, device)
    for i, (a, b) in enumerate(zip(first, second)):
        assert torch.equal(a, b) is (i % 3 != 1), i
    assert len({tuple(mask.flatten().tolist()) for mask in [*first, second[1], second[4]]}) == 8  # no mask comes twice


@pytest.mark.parametrize("device", DEVICES)
def test_the_streams_follow_from_the_common_one(device):
    assert all(map(torch.equal, masks(1, device), masks(1, device)))
    assert not torch.equal(masks(1, device)[1], masks(1, device, seed=4)[1])


def test_a_block_that_is_computed_again_draws_the_same():
    """The gradient of dropout is its mask: computed again with another one it would not be that of the forward pass."""
    torch.manual_seed(0)
    block, x = Block(1), torch.ones(4, 64, requires_grad=True)
    found = checkpoint(lambda x: sum(y * (i + 1) for i, y in enumerate(block(x))), x, use_reentrant=False)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())


def test_evaluation_draws_nothing():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    block = Block(1).eval()
    block(torch.ones(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_common_stream_is_back_after_an_error():
    block = Block(1)
    block.inside.forward = lambda x: torch.zeros(2).index_select(0, torch.tensor([5]))
    torch.manual_seed(0)
    with pytest.raises(IndexError):
        block(torch.ones(2))
    after = torch.rand(3)
    torch.manual_seed(0)
    block = Block(0)
    block.before(torch.ones(2)), block.inside(torch.ones(2))
    assert torch.equal(torch.rand(3), after)
