"""Number formats: what is refused where, what weights become, and the table of what a run keeps."""

import json

import pytest
import torch
from torch import nn

from tests.support import training
from trainer import formats, precision
from trainer.errors import DeviceError, OptionError
from trainer.precision import Precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(("dtype", "nearest"), [("fp16", "precision.dtype=bf16"), ("fp8", "precision.dtype=bf16")])
def test_what_a_cpu_cannot_do_is_refused_with_what_it_can(dtype, nearest):
    with pytest.raises(DeviceError, match=f"(?s)precision.dtype={dtype} .*'cpu'.*choose .*{nearest}"):
        Precision(dtype, CPU)


def test_pure_bf16_turns_weights_and_inputs_and_spares_running_statistics():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    net[3].weight.requires_grad_(False)
    Precision("bf16_pure", CPU).convert(net)
    kinds = {name: p.dtype for name, p in net.named_parameters()}
    assert {k for k, kind in kinds.items() if kind == torch.float32} == {"1.weight", "1.bias"}
    assert net[1].running_mean.dtype == torch.float32 and not net[3].weight.requires_grad
    assert net(torch.randn(3, 1, 4, 4)).dtype == torch.bfloat16


def test_tied_weights_stay_tied():
    net = training.model()
    Precision("bf16_pure", CPU).convert(net)
    assert net.tokens.weight is net.embed.weight


def logged(folder, event):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [fields for fields in map(json.loads, lines) if fields["event"] == event]


@pytest.mark.parametrize(
    ("dtype", "optim", "weights", "gradients", "kept"),
    [
        ("fp32", "adamw", {"float32": 4}, {"float32": 4}, {"float32": 8}),
        ("bf16", "sgd", {"float32": 4}, {"float32": 4}, {"float32": 4}),
        ("bf16_pure", "adamw", {"bfloat16": 2}, {"bfloat16": 2}, {"float32": 8}),
    ],
)
def test_the_table_says_what_tensors_are(tmp_path, dtype, optim, weights, gradients, kept):
    net = training.model()
    net.norm.requires_grad_(False)
    size, still = (sum(p.numel() for p in net.parameters() if p.requires_grad is side) for side in (True, False))
    options = training.config(steps=2, dtype=dtype, optim=optim)
    training.trainer(tmp_path, net=net, options=options, evals={}).fit()
    (found,) = logged(tmp_path, "formats")
    for key, value in (("weights", weights), ("gradients", gradients), ("optimizer", kept)):
        assert found[key] == {name: each * size for name, each in value.items()}, key
    each = 2 if dtype == "bf16_pure" else 4
    frozen = (
        {"bfloat16": still * 2, "float32": 4} if each == 2 else {"float32": still * 4 + 4}
    )  # and a buffer of one number
    assert (found["frozen"], found["computed"]) == (frozen, dtype)


def test_a_run_in_pure_bf16_learns(tmp_path):
    trainer = training.trainer(tmp_path, options=training.config(epochs=6, dtype="bf16_pure"))
    trainer.fit()
    losses = [e["loss"] for e in logged(tmp_path, "step")]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_line_of_the_console():
    found = {"weights": {"bfloat16": 2048, "float32": 16}, "frozen": {}, "gradients": {"bfloat16": 2048}}
    assert formats.line(found, "bf16_pure") == (
        "weights bfloat16 2.0 KiB + float32 16 B   gradients bfloat16 2.0 KiB   computed in bf16_pure"
    )


def test_fp8_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(precision.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"(?s)needs torchao.*trivium\[lowbit\].*precision.dtype=bf16"):
        Precision("fp8", torch.device("cuda"))


def test_fp8_is_for_large_layers_and_keeps_names_and_weights(monkeypatch):
    pytest.importorskip("torchao")
    monkeypatch.setattr(precision, "_require_fp8", lambda device: None)  # torchao computes it on a CPU too, slowly
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 5))
    net, plain = nn.ModuleDict({"block": block, "out": nn.Linear(32, 16)}), nn.Sequential(block[0], block[1])
    x = torch.randn(16, 32)
    with torch.autocast("cpu", torch.bfloat16):
        want = plain(x)
    before, fp8 = dict(net.named_parameters()), Precision("fp8", CPU)
    fp8.convert(net)
    kinds = {path: type(m).__name__ for path, m in net.named_modules() if isinstance(m, nn.Linear)}
    assert kinds == {"block.0": "Float8Linear", "block.1": "Float8Linear", "block.2": "Linear", "out": "Linear"}
    assert all(p is before[name] and p.dtype == torch.float32 for name, p in net.named_parameters())
    with fp8.autocast():
        got = net["block"][1](net["block"][0](x))
    got.float().square().sum().backward()
    assert got.dtype == torch.bfloat16 and 0 < (got - want).float().norm() < 0.1 * want.float().norm()
    assert before["block.0.weight"].grad.dtype == torch.float32
