"""Activations computed again: the same loss and gradients to the bit with dropout, unpadded too, in less memory."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import catalog
from tests.support import training
from trainer import memory
from trainer.errors import OptionError

LENGTHS = torch.tensor([5, 1, 9, 3])
IDS = torch.arange(1, int(LENGTHS.sum()) + 1)[None] % 50
SIZES = {
    "bert": {"vocab": 50, "width": 16, "depth": 3, "heads": 2, "hidden": 32, "positions": 32},
    "llama": {"vocab": 50, "width": 16, "depth": 3, "heads": 4, "kv_heads": 2, "hidden": 32},
    "t5": {"vocab": 50, "width": 16, "depth": 2, "heads": 2, "hidden": 32, "head_dim": 8},
}


def gradients(name, head, activations, batch):
    dropout = {"dropout": 0.2} | ({"attn_dropout": 0.2} if name == "bert" else {}) if name != "llama" else {}
    net = catalog.build(name, catalog.config(name, **SIZES[name], **dropout), head=head, seed=3).double().train()
    names = list(net.state_dict())
    memory.recompute(net, activations)
    assert list(net.state_dict()) == names
    torch.manual_seed(5)
    out = net(**batch)
    states = out.logits if hasattr(out, "logits") else out.last_hidden_state
    loss = (states * torch.linspace(0, 1, states.shape[-1])).square().mean()
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in net.named_parameters() if p.grad is not None}, torch.rand(())


@pytest.mark.parametrize("activations", ["selective", "full"])
@pytest.mark.parametrize(
    ("name", "head", "batch"),
    [
        ("bert", "masked-lm", {"input_ids": IDS, "lengths": LENGTHS}),
        ("llama", "causal-lm", {"input_ids": IDS, "lengths": LENGTHS}),
        ("t5", "seq2seq-lm", {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}),
    ],
)
def test_loss_and_gradients_are_the_same_to_the_bit(name, head, batch, activations):
    plain, again = (gradients(name, head, mode, batch) for mode in ("none", activations))
    assert torch.equal(plain[0], again[0]) and plain[1].keys() == again[1].keys()
    for key, grad in plain[1].items():
        assert torch.equal(grad, again[1][key]), key
    assert torch.equal(plain[2], again[2]), "the generator is where it would have been"


def kept(activations):
    """Bytes that the graph of one forward pass holds on to, by who holds them: (this many, times a product was formed)."""
    torch.manual_seed(0)
    net = catalog.build("bert", catalog.config("bert", **SIZES["bert"]), seed=0).train()
    memory.recompute(net, activations)
    held, weights = {}, {p.untyped_storage().data_ptr() for p in net.parameters()}
    products = []

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    for block in net.layers:
        block.mlp.up.register_forward_hook(lambda *_: products.append(1))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = net(IDS.expand(64, -1)).last_hidden_state.sum()
        saved = sum(n for where, n in held.items() if where not in weights)
    out.backward()
    return saved, len(products)


def test_full_keeps_less_and_computes_each_block_twice():
    plain, full = kept("none"), kept("full")
    assert full[0] < plain[0] / 4, "only what is outside of blocks, and the input of each"
    assert (plain[1], full[1]) == (3, 6)


class Computed(TorchDispatchMode):
    """Counts what is really computed within the block, by its name."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_selective_forms_no_product_twice():
    found = {}
    for mode in ("full", "selective"):
        block = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4))
        net = nn.ModuleDict({"layers": nn.ModuleList([block])})
        memory.recompute(net, mode)
        y = net["layers"][0](torch.randn(8, 4, requires_grad=True)).sum()
        with Computed() as found[mode]:
            y.backward()
    full, selective = found["full"].calls, found["selective"].calls
    assert full["addmm.default"] > selective["addmm.default"] == 0
    assert full["gelu.default"] == selective["gelu.default"] == 1


def test_evaluation_wraps_nothing_and_a_model_without_blocks_is_refused():
    net = nn.ModuleDict({"layers": nn.ModuleList([nn.Sequential(nn.Linear(2, 2))])})
    memory.recompute(net, "full")
    with torch.no_grad():
        assert net["layers"][0](torch.ones(1, 2)).shape == (1, 2)
    with pytest.raises(OptionError, match=r"memory.activations=full: Model has no repeated blocks"):
        memory.recompute(training.model(), "full")
