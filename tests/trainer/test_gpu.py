"""What only an accelerator can show: half formats, the scaler, and a skip that does not wait for the device."""

import json

import pytest
import torch

from tests.support import training

pytestmark = pytest.mark.gpu


def fitted(folder, **kw):
    trainer = training.trainer(folder, device="cuda", **kw)
    return trainer, trainer.fit()


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_every_format_learns_and_keeps_fp32_weights(tmp_path, dtype):
    options = training.config(epochs=4, dtype=dtype)
    trainer, result = fitted(tmp_path, options=options)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [e["loss"] for e in log if e["event"] == "step" and e["loss"] is not None]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert all(e["peak_bytes"] > 0 for e in log if e["event"] == "step")
    assert result.steps == 28


def test_the_scaler_is_part_of_a_checkpoint(tmp_path):
    options = training.config(epochs=1, dtype="fp16")
    trainer, _ = fitted(tmp_path, options=options)
    again = training.trainer(tmp_path, device="cuda", options=options)
    again.fit(resume=True)
    assert again.strategy.precision.scaler.get_scale() == trainer.strategy.precision.scaler.get_scale()


def test_bad_steps_between_two_looks_change_nothing(tmp_path):
    task = training.Task(spoil=lambda batch: True)
    trainer = training.trainer(tmp_path, device="cuda", task=task, options=training.config(epochs=1, max_skips=99))
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.fit()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))
