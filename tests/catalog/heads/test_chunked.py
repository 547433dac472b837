"""The loss over a vocabulary formed in pieces: its value, its gradients, what else can be asked of it, and its memory."""

import pytest
import torch

import catalog
from catalog import losses
from catalog.chunked import Chunked
from catalog.errors import ConfigError
from tests.support.memory import peaks_in_a_process

SMALL = {"vocab": 60, "width": 16, "depth": 1, "heads": 2, "hidden": 32}
IDS = torch.arange(24).view(2, 12) * 5 % 60
LENGTHS = torch.tensor([7, 1, 9, 7])
CASES = {  # model, head, what the model is given, targets
    "bert masked": ("bert", "masked-lm", {"input_ids": IDS}, {"labels": IDS.masked_fill(IDS % 3 == 0, -100)}),
    "bert pair": (
        "bert", "pre-training", {"input_ids": IDS}, {"labels": IDS, "next_sentence_label": torch.tensor([0, 1])},
    ),
    "albert order": (
        "albert", "pre-training", {"input_ids": IDS}, {"labels": IDS, "sentence_order_label": torch.tensor([0, 1])},
    ),
    "llama": ("llama", "causal-lm", {"input_ids": IDS}, {"labels": IDS}),
    "llama unpadded": ("llama", "causal-lm", {"input_ids": IDS.view(1, -1), "lengths": LENGTHS}, {
        "labels": IDS.view(1, -1), "lengths": LENGTHS,
    }),
    "gpt2 tied": ("gpt2", "causal-lm", {"input_ids": IDS}, {"labels": IDS}),
    "t5 scaled": ("t5", "seq2seq-lm", {"input_ids": IDS, "decoder_input_ids": IDS}, {"labels": IDS}),
    "bart bias": ("bart", "seq2seq-lm", {"input_ids": IDS, "decoder_input_ids": IDS}, {"labels": IDS}),
}  # fmt: skip


def build(name, head, dtype):
    fields = set(catalog.config(name).__dataclass_fields__)
    small = {**SMALL, "head_dim": 8, "decoder_depth": 1, "token_width": 8}
    small = {key: value for key, value in small.items() if key in fields}
    net = catalog.build(name, catalog.config(name, **small), head=head, seed=1).to(dtype).eval()
    if getattr(net, "bias", None) is not None:
        net.bias.copy_(torch.linspace(-1, 1, net.bias.numel()))
    return net


def loss_and_gradients(net, inputs, targets, chunk):
    net.loss_chunk = chunk
    net.zero_grad()
    out = net(**inputs)
    loss = losses.mean(net.terms(out, **targets))
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}, out


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_those_of_the_plain_loss(case, dtype, near):
    name, head, inputs, targets = CASES[case]
    net = build(name, head, dtype)
    plain, grads, _ = loss_and_gradients(net, inputs, targets, None)
    for chunk in (1, 7, 24, 1000):
        loss, found, _ = loss_and_gradients(net, inputs, targets, chunk)
        torch.testing.assert_close(loss, plain, rtol=near, atol=near)
        assert found.keys() == grads.keys()
        for key, grad in grads.items():
            torch.testing.assert_close(found[key], grad, rtol=near, atol=near, msg=lambda m, key=key: f"{key}: {m}")


def test_a_forward_pass_with_labels_gives_the_published_loss():
    net = build("bert", "masked-lm", torch.float64)
    plain = net(IDS, labels=IDS).loss
    net.loss_chunk = 5
    torch.testing.assert_close(net(IDS, labels=IDS).loss, plain, rtol=1e-12, atol=0)


def test_whatever_else_asks_for_logits_gets_them():
    net = build("gpt2", "causal-lm", torch.float64)
    plain = net(IDS).logits
    net.loss_chunk = 5
    logits = net(IDS).logits
    assert isinstance(logits, Chunked)
    assert torch.equal(logits.argmax(-1), plain.argmax(-1))
    torch.testing.assert_close(logits.whole(), plain, rtol=0, atol=1e-14)
    torch.testing.assert_close(logits.softmax(-1), plain.softmax(-1), rtol=0, atol=1e-14)
    assert torch.equal(logits[:, -1].argmax(-1), plain[:, -1].argmax(-1)) and logits.shape == plain.shape
    assert len(catalog.generate(net, IDS[:1], max_new_tokens=3).sequences[0]) == 15


def test_half_formats_add_pieces_up_in_fp32():
    net = build("gpt2", "causal-lm", torch.bfloat16)
    net.loss_chunk = 4
    (term,) = net.terms(net(IDS), labels=IDS).values()
    assert term.total.dtype == torch.float32


def test_a_head_without_a_vocabulary_is_refused():
    net = catalog.build("bert", catalog.config("bert", **SMALL), head="sequence-classification")
    with pytest.raises(ConfigError, match=r"bert with sequence-classification .* no vocabulary"):
        catalog.chunk_loss(net, 64)


def test_memory_is_that_of_a_piece():
    """1,024 positions, 40,000 tokens: the logits alone are 164 MB."""
    figures = peaks_in_a_process("""
import torch, catalog
config = catalog.config("llama", vocab=40000, width=16, depth=1, heads=2, hidden=32)
net = catalog.build("llama", config, head="causal-lm", seed=0).train()
ids = torch.arange(1024)[None]
figures = {}
for chunk in (None, 64):
    net.loss_chunk = chunk
    def work():
        net(ids, labels=ids).loss.backward()
        net.zero_grad()
    figures[str(chunk)] = measured(work)
""")
    logits, weight = 1024 * 40000 * 4, 40000 * 16 * 4
    assert figures["None"] > 2 * logits, figures
    assert figures["64"] < 4 * logits / 16 + 6 * weight + 2**23, figures
