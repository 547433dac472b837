"""What weight decay acts on, what an update computes, and how its state is kept."""

import pytest
import torch
from torch import nn

from tests.support import training
from trainer import optim
from trainer.errors import OptionError

OPTIONS = training.config(lr=0.1, decay=0.5).optim


class Page(nn.Module):
    """Parameters under the names the catalog uses."""

    def __init__(self):
        super().__init__()
        self.embed = nn.ModuleDict({"tokens": nn.Embedding(5, 4), "norm": nn.LayerNorm(4)})
        block = {"attn": nn.ModuleDict({"q": nn.Linear(4, 4)}), "norm1": nn.LayerNorm(4), "norm2": nn.RMSNorm(4)}
        self.layers = nn.ModuleList([nn.ModuleDict(block)])
        self.out = nn.Linear(4, 5, bias=False)
        self.bias = nn.Parameter(torch.zeros(5))


def test_decay_acts_on_matrices_and_embeddings_only():
    page = Page()
    page.out.weight = page.embed["tokens"].weight  # tied: one parameter under its first name
    names = {id(p): name for name, p in page.named_parameters()}
    decayed, free = optim.groups(page, 0.5)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0)
    assert [names[id(p)] for p in decayed["params"]] == ["embed.tokens.weight", "layers.0.attn.q.weight"]
    assert {names[id(p)] for p in free["params"]} == {
        "bias", "embed.norm.weight", "embed.norm.bias", "layers.0.attn.q.bias",
        "layers.0.norm1.weight", "layers.0.norm1.bias", "layers.0.norm2.weight",
    }  # fmt: skip


def test_frozen_parameters_are_left_out():
    page = Page()
    page.embed.requires_grad_(False)
    assert sum(len(g["params"]) for g in optim.groups(page, 0.5)) == sum(
        1 for p in page.parameters() if p.requires_grad
    )


def test_one_update_is_adamw_as_published():
    """m = (1-b1) g, v = (1-b2) g^2; w <- w - lr*decay*w - lr * m/(1-b1) / (sqrt(v/(1-b2)) + eps)."""
    torch.manual_seed(0)
    page = nn.Linear(3, 2).double()
    before = {name: p.detach().clone() for name, p in page.named_parameters()}
    for p in page.parameters():
        p.grad = torch.randn_like(p)
    optim.build(page, OPTIONS).step()
    for name, p in page.named_parameters():
        decay = 0.5 if name == "weight" else 0.0
        expected = before[name] * (1 - 0.1 * decay) - 0.1 * p.grad / (p.grad.abs() + 1e-8)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=1e-12)


def test_the_fused_kernel_is_used_here():
    assert optim.build(nn.Linear(2, 2), OPTIONS).defaults["fused"]


def test_state_is_by_name_and_comes_back():
    def updated(net, opt, steps):
        for i in range(steps):
            for j, p in enumerate(net.parameters()):
                p.grad = torch.full_like(p, 0.1 * (i + 1) + j)
            opt.step()

    one, two = Page(), Page()
    two.load_state_dict(one.state_dict())
    first, second = optim.build(one, OPTIONS), optim.build(two, OPTIONS)
    updated(one, first, 3)
    saved = {n: {k: v.clone() for k, v in e.items()} for n, e in optim.state(first, one).items()}
    assert saved.keys() == {name for name, _ in one.named_parameters()}
    two.load_state_dict(one.state_dict())
    optim.load(second, two, saved)
    updated(one, first, 2)
    updated(two, second, 2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    assert float(saved["bias"]["step"]) == 3, "what was given to load is not written to"


def test_state_of_unknown_parameters_is_refused_by_name():
    page = Page()
    with pytest.raises(ValueError, match=r"layers\.9\.attn\.q\.weight"):
        optim.load(optim.build(page, OPTIONS), page, {"layers.9.attn.q.weight": {"step": torch.zeros(())}})


def test_a_model_without_anything_to_train_is_refused():
    with pytest.raises(OptionError, match="every parameter of the model is frozen"):
        optim.build(Page().requires_grad_(False), OPTIONS)
