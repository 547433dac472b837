"""Models built without memory and divided among processes: every value is that of a whole start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catalog.layers.draws import draw
from recipes.run import DIVIDED
from tests.equivalence import models

ROOT = Path(__file__).resolve().parents[2]
PLACES = {2: ("fsdp", "tp", "cp"), 4: ("hsdp", "fsdp_tp")}  # processes, and strategies under which they start so
NAMES = ["bert", "gpt2", "llama", "t5", "vit"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By number of processes, what each of them found."""
    folder, results = tmp_path_factory.mktemp("filled"), {}
    worker = str(Path(__file__).with_name("filling_worker.py"))
    for world, strategies in PLACES.items():
        start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", worker]
        command = [sys.executable, *start, str(folder), ",".join(strategies)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        results[world] = [json.loads((folder / f"out.{world}.{rank}.json").read_text()) for rank in range(world)]
    return results


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("world, strategy", [(world, strategy) for world in PLACES for strategy in PLACES[world]])
def test_values_are_those_of_a_whole_model_to_the_bit(found, world, strategy, name):
    for drawn, read, _, _ in (result[f"{name} {strategy}"] for result in found[world]):
        assert drawn == [] and read == []


@pytest.mark.parametrize("name", NAMES)
def test_each_process_reads_its_part_of_a_checkpoint(found, name):
    """A tensor of an odd length is not divided evenly, and tensor parallelism keeps norms and positions whole."""
    for world, strategy, least, most in [(2, "fsdp", 0.45, 0.55), (2, "tp", 0.45, 0.75), (4, "fsdp_tp", 0.2, 0.35)]:
        for _, _, read, size in (result[f"{name} {strategy}"] for result in found[world]):
            assert least * size < read < most * size, (strategy, read / size)


def test_all_strategies_that_divide_a_model_are_here():
    assert {strategy for strategies in PLACES.values() for strategy in strategies} == {*DIVIDED}


@pytest.mark.parametrize("name", models.MODELS)
def test_weights_drawn_one_by_one_are_those_drawn_together(name):
    whole, given, most = models.build(name), {}, []

    def put(path, tensor):
        given[path] = tensor.clone()
        most.append(sum(t.untyped_storage().nbytes() > 0 for t in blank.parameters()))

    blank = models.build(name, device="meta")
    draw(blank, whole.config.init_std, 0, put)
    expected = dict(whole.named_parameters())
    assert given.keys() >= expected.keys() and max(most) == 1, "one tensor has memory at a time"
    assert all(torch.equal(given[path], value) for path, value in expected.items())


def test_a_rule_that_goes_back_to_a_weight_is_a_mistake_of_its_own():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (torch.nn.Parameter(torch.empty(2, device="meta")) for _ in "ab")

        def initialise(self, std):
            self.a.fill_(1.0)
            self.b.fill_(2.0)
            self.a.mul_(2.0)

    with pytest.raises(RuntimeError, match="the rule that starts a goes back to it"):
        draw(Twice(), 0.02, 0, lambda name, tensor: None)


def test_parts_of_a_tensor_are_read_from_where_they_stand(tmp_path):
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from safetensors.torch import save_file

    from catalog.checkpoints.readers import open_folder

    shapes = [(5,), (4, 6), (3, 4, 5), (2, 3, 2, 3)]
    tensors = {str(len(shape)): torch.randn(shape) for shape in shapes}
    save_file(tensors, tmp_path / "model.safetensors")
    reader = open_folder(tmp_path)

    @settings(deadline=None)
    @given(st.data())
    def check(data):
        name = data.draw(st.sampled_from(sorted(tensors)))
        ends = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2))) for size in tensors[name].shape]
        box = tuple(slice(a, b) for a, b in ends)
        before = reader.bytes
        part = reader.read(name, box)
        assert torch.equal(part, tensors[name][box]) and reader.bytes - before == part.nbytes

    check()
