"""What the first lines of a run say."""

import hashlib
import re
from types import SimpleNamespace

import numpy as np

from recipes import run
from recipes.prepared import describe_data
from trainer.data.batches import BatchPlan
from trainer.options import BatchOptions


def made(layout):
    options = BatchOptions(layout=layout, tokens=None, size=2, max_length=8, accumulate=1)
    plan = BatchPlan(np.array([2, 4, 6, 4], dtype=np.int32), options, seed=None)
    train = SimpleNamespace(plan=plan, dataset=range(4))
    return SimpleNamespace(train=train, evals={"dev": SimpleNamespace(dataset=range(1_000))}, source="there")


def test_the_data_line_counts_rows_tokens_and_padding():
    assert describe_data(made("unpadded")) == (
        "4 train / 1,000 dev   there   mean 4 tok, p99 6   padding if padded to 8: 50%, ours (unpadded): 0%"
    )
    assert describe_data(made("padded")).endswith("ours (padded): 50%")
    assert describe_data(made("bucketed")).endswith(
        f"ours (bucketed): {1 - 16 / 20:.0%}"
    )  # widths 4 and 6, two rows each


def test_the_run_line_identifies_configuration_and_code_and_names_the_other_scale(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    said = run.identity(SimpleNamespace(run_dir=str(tmp_path), scale="demo"), {"demo": "small", "full": "published"})
    digest = hashlib.sha256(b"seed: 1\n").hexdigest()[:6]
    assert said.startswith(f"{tmp_path}   config {digest}")
    assert said.endswith("scale=demo: small   scale=full: published")
    code = run.revision()
    assert code is None or re.fullmatch(r"[0-9a-f]{7,} \((clean|changed)\)", code)


def test_code_outside_a_checkout_has_no_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.revision() is None
