"""DeepSpeed's configuration, made from ours: golden values, and what is refused before anything is loaded."""

import importlib.util
import json

import pytest

from launchers.config import render
from launchers.config.load import load
from tests.support import training
from trainer.errors import OptionError
from trainer.strategies import zero_config

ADAMW = {"lr": 0.02, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "torch_adam": True, "fused": True}
BASE = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 1,
    "gradient_clipping": 0.0,
    "steps_per_print": None,
    "optimizer": {"type": "AdamW", "params": ADAMW},
    "zero_allow_untested_optimizer": True,
}
HOME = {"device": "cpu", "pin_memory": True}


def made(name, optimizer="adamw", **more):
    return zero_config.document(
        training.spread(name, offload=more.pop("offload", False)), training.optimizer(optimizer), **more
    )


def test_each_stage_has_its_section():
    zero = {"reduce_bucket_size": 50_000_000}
    assert made("deepspeed_zero1") == {**BASE, "zero_optimization": {"stage": 1, **zero}}
    assert made("deepspeed_zero2") == {**BASE, "zero_optimization": {"stage": 2, **zero}}
    three = {"stage": 3, **zero, "stage3_param_persistence_threshold": 0}
    assert made("deepspeed_zero3") == {**BASE, "zero_optimization": three}
    assert made("deepspeed_zero3", offload=True)["zero_optimization"] == {
        **three, "offload_optimizer": HOME, "offload_param": HOME,
    }  # fmt: skip
    offloaded = made("deepspeed_zero2", offload=True, pinned=False, reduce="bf16")
    assert offloaded["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": False}
    assert "offload_param" not in offloaded["zero_optimization"] and offloaded["communication_data_type"] == "bf16"


def test_optimizers_are_those_of_pytorch():
    assert made("deepspeed_zero1", "adam")["optimizer"] == {"type": "Adam", "params": {**ADAMW, "adam_w_mode": False}}
    assert made("deepspeed_zero1", "sgd")["optimizer"] == {
        "type": "SGD", "params": {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    }  # fmt: skip
    with pytest.raises(OptionError, match="take optim=adamw"):
        made("deepspeed_zero1", "adafactor")


@pytest.mark.parametrize(
    "dtype, more, advice",
    [
        ("fp16", {}, "choose precision=bf16, or strategy=fsdp"),
        ("bf16_pure", {}, "choose precision=bf16"),
        ("fp32", {"compile": True}, "choose strategy.compile=false, or strategy=fsdp"),
        ("fp32", {"reshard": False}, "leave it out, or choose strategy=fsdp"),
    ],
)
def test_what_deepspeed_is_not_asked_to_do_is_refused_with_a_way_out(dtype, more, advice):
    with pytest.raises(OptionError, match="strategy=deepspeed_zero2") as refused:
        zero_config.check(training.spread("deepspeed_zero2", **more), dtype)
    assert advice in str(refused.value) and refused.value.exit_code == 2


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'trivium\[deepspeed\]'"):
        zero_config.check(training.spread("deepspeed_zero3"), "fp32")


def test_it_is_printed_as_the_run_would_give_it():
    loaded = load(["recipe=bert_glue", "strategy=deepspeed_zero2", "optim.lr=3e-5", "print=deepspeed"])
    assert loaded.command == ("print", "deepspeed")
    printed = json.loads(render.deepspeed(loaded.config))
    assert printed == zero_config.document(loaded.config.strategy, loaded.config.optim)
    assert printed["optimizer"]["params"]["lr"] == 3e-5 and printed["zero_optimization"]["stage"] == 2


def test_other_strategies_have_nothing_to_print():
    loaded = load(["recipe=bert_glue", "strategy=fsdp", "print=deepspeed"])
    with pytest.raises(Exception, match="strategy=fsdp: DeepSpeed has no part in this run") as refused:
        render.deepspeed(loaded.config)
    assert refused.value.exit_code == 2
