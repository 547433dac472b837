"""State by name: what wrappers do to names is undone, tied tensors stand there once, and what does not fit is listed."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from trainer.checkpoint.store import Checkpoints
from trainer.errors import DataError
from trainer.strategies import state


class Page(nn.Module):
    def __init__(self, tied=True, width=3):
        super().__init__()
        self.embed = nn.Embedding(5, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.out = nn.Linear(width, 5, bias=False)
        if tied:
            self.out.weight = self.embed.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("cache", torch.zeros(2), persistent=False)


NAMES = ["embed.weight", *(f"layers.{i}.{leaf}" for i in (0, 1) for leaf in ("weight", "bias")), "seen"]


def updated(model, optimizer, steps=3):
    for i in range(steps):
        for j, p in enumerate(model.parameters()):
            p.grad = torch.full_like(p, 0.1 * (i + 1) + j) if p.requires_grad else None
        optimizer.step()
    return model, optimizer


def trained(model, name="AdamW", **options):
    kept = [p for p in model.parameters() if p.requires_grad]
    return updated(model, getattr(torch.optim, name)(kept, lr=0.1, **options))


def saved(folder, model, optimizer):
    store = Checkpoints(folder)
    return store.load(store.save(1, {"scaler": {}}, state.flat(state.state(model, optimizer))))


def test_names_are_those_of_the_page_whatever_wraps_its_modules():
    plain, wrapped, compiled = Page(), Page(), Page()
    wrapped.layers[0] = checkpoint_wrapper(wrapped.layers[0])
    compiled.layers[1] = torch.compile(compiled.layers[1])
    for model in (plain, wrapped, compiled, torch.compile(Page())):
        assert sorted(state.tensors(model)) == sorted(NAMES)
        assert sorted(state.parameters(model)) == sorted(NAMES[:-1])
    assert "out.weight" in state.tensors(Page(tied=False))


@pytest.mark.parametrize(
    "name, options",
    [("AdamW", {"fused": True}), ("AdamW", {}), ("Adam", {}), ("SGD", {"momentum": 0.9}), ("Adafactor", {})],
)
def test_every_optimizer_goes_on_to_the_bit(tmp_path, name, options):
    torch.manual_seed(0)
    one, first = trained(Page(), name, **options)
    found = saved(tmp_path, one, first)
    two, second = trained(Page(), name, **options)
    state.load(found, two, second)
    updated(one, first, 2)
    updated(two, second, 2)
    assert all(torch.equal(tensor, state.tensors(two)[key]) for key, tensor in state.tensors(one).items())
    before = state.state(one, first)["optimizer"]
    after = state.state(two, second)["optimizer"]
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key][entry]) for key, its in before.items() for entry, value in its.items())


def test_weights_alone_leave_the_optimizer(tmp_path):
    found = saved(tmp_path, *trained(Page()))
    model, optimizer = trained(Page())
    step = optimizer.state[model.embed.weight]["exp_avg"].clone()
    state.load(found, model)
    assert torch.equal(model.embed.weight, found.whole("model.embed.weight"))
    assert torch.equal(optimizer.state[model.embed.weight]["exp_avg"], step)


def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded(tmp_path):
    frozen = Page(tied=False)
    found = saved(tmp_path, *trained(frozen))
    other = Page(width=4)
    other.layers.append(nn.Linear(4, 4))
    other.layers[0].bias.requires_grad_(False)
    other, optimizer = trained(other)
    before = {name: tensor.clone() for name, tensor in state.tensors(other).items()}
    with pytest.raises(DataError) as error:
        state.load(found, other, optimizer)
    told = str(error.value).split("\n")
    assert "9 tensors differ" in told[0] and "nothing was loaded" in told[-1]
    assert [line.split(":")[0].split() for line in told[1:-1]] == [
        ["missing", "layers.2.bias"], ["missing", "layers.2.weight"],
        ["shape", "embed.weight"], ["shape", "layers.0.bias"], ["shape", "layers.0.weight"],
        ["shape", "layers.1.bias"], ["shape", "layers.1.weight"],
        ["unexpected", "out.weight"], ["untrained", "layers.0.bias"],
    ]  # fmt: skip
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors(other).items())


def test_a_frozen_part_has_no_optimizer_state_and_loads(tmp_path):
    def part_frozen():
        model = Page()
        model.layers[0].requires_grad_(False)
        return trained(model)

    found = saved(tmp_path, *part_frozen())
    assert not any(name.startswith("optimizer.layers.0") for name in found.shapes)
    model, optimizer = part_frozen()
    state.load(found, model, optimizer)
    assert torch.equal(model.layers[0].weight, found.whole("model.layers.0.weight"))
