"""The plan against processes that are there: bytes of states, of what is sent, and operations, of every process."""

import json
import os
import subprocess
import sys
import typing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import catalog
from tests.equivalence import models
from tests.support import training
from tests.trainer.plan.measured import feed, options, table
from trainer.errors import OptionError
from trainer.options import ClusterOptions
from trainer.plan import advice, clock, cluster, depth, pretend, report
from trainer.plan.plan import make
from trainer.plan.simulate import simulate

ROOT = Path(__file__).resolve().parents[3]
TWO = [
    {"model": "bert", "strategy": "ddp", "accumulate": 2},
    {"model": "llama", "strategy": "fsdp", "accumulate": 3},
    {"model": "gpt2", "strategy": "fsdp", "dtype": "bf16_pure"},
    {"model": "vit", "strategy": "fsdp", "dtype": "bf16", "activations": "full"},
    {"model": "bert", "strategy": "tp"},
    {"model": "llama", "strategy": "cp"},
]
FOUR = [
    {"model": "gpt2", "strategy": "hsdp", "accumulate": 2},
    {"model": "t5", "strategy": "fsdp_tp", "options": {"tp": 2}},
]


def planned(cell, processes, rank=0, model=None):
    """The figures of a cell without any process."""
    model = model or models.build(cell["model"], dtype=torch.float32, device="meta")
    with pretend.processes(1, processes, rank):
        return simulate(model, models.Task(), feed(cell), options(cell, processes))


def measured(folder, cells, processes):
    """What each process of a real run took."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    worker = [str(Path(__file__).with_name("measured.py")), str(folder), json.dumps(cells)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *start, *worker], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"out.{rank}.json").read_text()) for rank in range(processes)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {n: measured(tmp_path_factory.mktemp(str(n)), cells, n) for n, cells in ((2, TWO), (4, FOUR))}


@pytest.mark.parametrize("processes, i", [*((2, i) for i in range(len(TWO))), *((4, i) for i in range(len(FOUR)))])
def test_a_plan_is_what_every_process_of_a_run_holds_sends_and_computes(runs, processes, i):
    cell = {2: TWO, 4: FOUR}[processes][i]
    for rank in (0, processes - 1):
        found, real = planned(cell, processes, rank), runs[processes][rank][i]
        mine = table(found.states, found.seen)
        for what in ("states", "sent", "calls", "flops"):
            assert mine[what] == real[what], (what, rank)
        assert found.bytes("weights") == real["weights"] > 0


SIZES = {"vocab": 64, "width": 16, "heads": 4, "kv_heads": 2, "hidden": 32, "positions": 16}


def llama(depth_):
    return catalog.build("llama", catalog.config("llama", **SIZES, depth=depth_), head="causal-lm", device="meta")


@pytest.mark.parametrize(
    "cell, processes",
    [
        ({"strategy": "ddp", "accumulate": 4}, 2),
        ({"strategy": "fsdp", "activations": "full", "dtype": "bf16"}, 4),
    ],
)
def test_a_deep_model_by_two_depths_is_the_deep_model(monkeypatch, cell, processes):
    cell = {"model": "llama", **cell}
    few = planned(cell, processes, model=llama(9))
    monkeypatch.setattr(depth, "BASE", 99)
    every = planned(cell, processes, model=llama(9))
    assert every.exact and not few.exact
    assert table(few.states, few.seen) == table(every.states, every.seen)
    assert few.kept == every.kept
    assert few.peak == pytest.approx(every.peak, rel=0.01)


def test_blocks_that_differ_are_all_computed():
    model = llama(9)
    assert depth.depths(model)[1] == {"backbone.layers": 3}
    model.backbone.layers[4].mlp.up = torch.nn.Linear(16, 8, device="meta")
    assert depth.depths(model)[1] == {"backbone.layers": 9}


def test_checkpointing_keeps_less_and_computes_the_forward_pass_again():
    plain, again = (planned({"model": "llama", "strategy": "fsdp", "activations": how}, 2) for how in ("none", "full"))
    forward, backward = ("forward", "float32"), ("backward", "float32")
    assert again.kept < plain.kept / 2 and again.peak < plain.peak
    assert again.seen.flops[forward] == plain.seen.flops[forward]
    assert (
        plain.seen.flops[backward]
        < again.seen.flops[backward]
        <= plain.seen.flops[backward] + plain.seen.flops[forward]
    )


def test_traffic_by_dimension_and_where_it_goes():
    gpu = clock.gpus()["h100"]
    found = planned({"model": "t5", "strategy": "fsdp_tp", "options": {"tp": 2}}, 4)
    rows = clock.traffic(found, gpu, {"shard": 2, "tp": 2}, 4)
    assert {(row.kind, row.over) for row in rows} >= {
        ("all-gather", "shard"), ("reduce-scatter", "shard"), ("all-reduce", "tp"),
    }  # fmt: skip
    apart = clock.traffic(found, gpu, {"shard": 2, "tp": 2}, 2)  # two machines: shards are in both, tp within one
    for near, far in zip(rows, apart):
        assert (far.seconds > near.seconds) == ("shard" in near.over), near
    gather = next(row for row in apart if (row.kind, row.over) == ("all-gather", "shard"))
    sent = gather.sent / (gpu.outside * 1e9 * clock.TRAFFIC)
    assert gather.seconds == pytest.approx(sent + gather.calls * clock.LATENCY)


def test_every_gpu_that_can_be_asked_for_has_its_figures():
    asked = typing.get_args(typing.get_type_hints(ClusterOptions)["gpu"])
    found = clock.gpus()
    assert sorted(asked) == sorted(found)
    for gpu in found.values():
        assert gpu.fp8 >= gpu.bf16 > gpu.fp32 and gpu.inside >= gpu.outside and gpu.hbm > gpu.memory > 0


def test_what_to_change_is_what_takes_most():
    cell = {"model": "llama", "strategy": "ddp"}
    whole = planned(cell, 2, model=llama(4))
    asked = options(cell, 2)
    assert advice.first_knob(whole, asked, whole.peak) is None
    room = whole.bytes("weights")
    assert advice.first_knob(whole, asked, room).startswith("strategy=fsdp")
    room, peak = 2 * whole.peak, 101 * whole.peak
    held = replace(whole, kept=100 * whole.peak, seen=replace(whole.seen, peaks={"end": peak}))
    assert advice.first_knob(held, asked, room).startswith("memory.activations=full")
    assert advice.on_device(whole, offload=True) == whole.peak - 4 * whole.bytes("weights")


def test_a_plan_as_text_and_as_json():
    cell = {"model": "llama", "strategy": "fsdp", "accumulate": 2}
    plan = make(models.build("llama", device="meta"), "llama", models.Task(), feed(cell), options(cell, 2))
    text = dict(report.lines(plan))
    assert "2 h100   fsdp: shard 2" in text["plan"] and "fits" in text["peak"] and "predicted" in text["time"]
    found = json.loads(json.dumps(report.document(plan)))
    assert found["fits"] and found["change"] is None and found["bytes"]["weights"] == {"float64": 22848}
    assert found["bytes"]["peak"] == plan.peak > found["bytes"]["activations"] > 0
    seconds = found["predicted_seconds"]
    assert seconds["worst"] == pytest.approx(
        sum(seconds[name] for name in ("products", "others", "update", "waited", "beside"))
    )
    assert 0 < seconds["best"] <= seconds["worst"]
    assert found["batch"]["positions_per_step"] == plan.figures.size.slots * 2 * 2


@pytest.mark.parametrize(
    "strategy, message",
    [
        ({"name": "deepspeed_zero3"}, "not planned yet; planned are single, ddp"),
        ({"name": "hsdp", "replicas": 3}, "strategy.replicas=3 does not divide 8"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_is_loaded(strategy, message):
    with pytest.raises(OptionError, match=message):
        cluster.check(training.spread(**strategy), ClusterOptions(nodes=1, gpus=8, gpu="h100"))
