"""What weight decay acts on, what an update computes, and how its state is kept."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.support import training
from trainer import optim
from trainer.errors import OptionError, Stopped

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


def test_a_model_without_anything_to_train_is_refused():
    with pytest.raises(OptionError, match="every parameter of the model is frozen"):
        optim.build(Page().requires_grad_(False), OPTIONS)


def test_an_option_of_another_optimizer_is_refused():
    adam = training.optimizer("adam")
    with pytest.raises(OptionError, match=r"optim.momentum=0.9: adam has no such option"):
        optim.build(Page(), replace(adam, momentum=0.9))
    with pytest.raises(OptionError, match=r"optim.betas=None: adam needs it"):
        optim.build(Page(), replace(adam, betas=None))


def test_sgd_and_adam_compute_what_they_are_named_for():
    def moved(name, grads):
        page = nn.ParameterDict({"w": torch.ones(2, dtype=torch.float64)})
        optimizer = optim.build(page, training.optimizer(name, lr=0.1, decay=0.0))
        for g in grads:
            page["w"].grad = torch.full((2,), g, dtype=torch.float64)
            optim.update(optimizer, 0.1, torch.zeros(()))
        return float(page["w"].detach()[0])

    assert moved("sgd", [2.0, 1.0]) == pytest.approx(1 - 0.1 * 2 - 0.1 * (0.9 * 2 + 1), abs=1e-12)
    m, v = 0.1 * 2.0, 0.001 * 4.0
    first = 0.1 * (m / 0.1) / ((v / 0.001) ** 0.5 + 1e-8)
    m, v = 0.9 * m + 0.1, 0.999 * v + 0.001
    second = 0.1 * (m / (1 - 0.81)) / ((v / (1 - 0.999**2)) ** 0.5 + 1e-8)
    assert moved("adam", [2.0, 1.0]) == pytest.approx(1 - first - second, abs=1e-12)


def test_adafactor_keeps_a_row_and_a_column_of_a_matrix():
    page = Page()
    optimizer = optim.build(page, training.optimizer("adafactor", lr=0.1))
    for p in page.parameters():
        p.grad = torch.ones_like(p)
    optim.update(optimizer, 0.1, torch.zeros(()))
    held = optimizer.state[page.out.weight]
    assert sum(t.numel() for name, t in held.items() if name != "step") == 5 + 4


@pytest.mark.parametrize("name", ["adam", "sgd", "adafactor"])
def test_a_run_with_each_optimizer_is_resumed_to_the_bit(tmp_path, name):
    def run(folder):
        return training.trainer(folder, options=training.config(optim=name, save_every=3))

    def stop(step):
        if step == 6:
            raise KeyboardInterrupt

    whole, cut = run(tmp_path / "whole"), run(tmp_path / "cut")
    whole.fit()
    cut.train.before = stop
    with pytest.raises(Stopped):
        cut.fit()
    again = run(tmp_path / "cut")
    again.fit(resume=True)
    for (key, a), b in zip(whole.model.named_parameters(), again.model.parameters()):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adafactor"])
def test_a_first_step_that_is_skipped_leaves_no_trace(name):
    def moved(skips):
        page = nn.ParameterDict({"w": torch.ones(50, 50)})
        optimizer = optim.build(page, training.optimizer(name, lr=0.1))
        for skip in skips:
            page["w"].grad = torch.full((50, 50), float("nan") if skip else 0.5)
            optim.update(optimizer, 0.1, torch.tensor(float(skip)))
        return page["w"].detach()

    torch.testing.assert_close(moved([1, 0, 0]), moved([0, 0]), rtol=0, atol=0)
