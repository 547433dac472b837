"""Models built without memory and divided between two processes: every value is that of a whole start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catalog.layers.draws import draw
from tests.equivalence import models

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["bert", "gpt2", "llama", "t5", "vit"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    worker = str(Path(__file__).with_name("filling_worker.py"))
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", worker, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"out.{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_new_weights_are_those_of_a_whole_model_to_the_bit(found, name):
    assert [result[f"{name} new"][0] for result in found] == [[], []]


@pytest.mark.parametrize("name", NAMES)
def test_each_process_reads_its_half_of_a_checkpoint(found, name):
    for wrong, read, size in (result[f"{name} read"] for result in found):
        assert wrong == [] and 0.45 * size < read < 0.55 * size  # tensors of an odd length are not divided evenly


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
