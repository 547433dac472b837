"""Models cut into stages that compute one after the other in one process, against the same models whole."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.equivalence import models
from tests.support.training import Rows
from trainer.errors import OptionError
from trainer.strategies import state
from trainer.strategies.pipeline_stages import Slice, cut, shared, spread, strip

NAMES = ["bert", "gpt2", "llama", "vit"]


def loss_of(name):
    """What a stage is given to run: the summed loss of five rows of different lengths."""
    (batch,) = next(models.Examples(name, Rows(5), size=5).epoch(0))
    batch.pop("rows")
    return lambda model, index: models.Task().terms(model, batch)[1]["loss"].total


def built(name, stages):
    model = models.build(name, depth=5)
    owners = cut(model, stages)
    return model, owners, [Slice(model, owners, stage, torch.float64) for stage in range(stages)]


@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("name", NAMES)
def test_stages_in_a_row_compute_what_the_whole_computes(name, stages):
    whole, loss = models.build(name, depth=5), loss_of(name)
    model, _, slices = built(name, stages)
    expected = loss(whole, 0)
    expected.backward()
    came, went = [], []
    for part in slices:
        part.begin(loss, None if part.last else part.size(loss, 0) + 3 if part.stage else 1000)
        came.append(went[-1].detach().requires_grad_() if went else None)
        went.append(part(came[-1]) if part.stage else part())
    went[-1].backward()
    for earlier, later in pairwise(range(stages)[::-1]):
        went[later].backward(came[earlier].grad)
    torch.testing.assert_close(went[-1], expected, rtol=1e-12, atol=0)
    for (path, p), (_, ours) in zip(whole.named_parameters(), model.named_parameters()):
        torch.testing.assert_close(ours.grad, p.grad, rtol=1e-9, atol=1e-12, msg=path)


@pytest.mark.parametrize("name", NAMES)
def test_each_process_keeps_its_stage_under_the_names_of_the_whole(name):
    names, held = list(state.parameters(models.build(name, depth=5))), []
    for stage in range(3):
        model, owners, slices = built(name, 3)
        both = shared(model, owners)
        strip(model, owners, slices[stage : stage + 1])
        mine = list(state.tensors(model))
        assert mine == [n for n in names if n in mine] == list(state.parameters(model))
        assert {n for n in both if stage in both[n]} == set(mine) & both.keys()
        held += [n for n in mine if n not in both or both[n][0] == stage]
    assert sorted(held) == sorted(names)
    assert (list(both.values()) == [[0, 2]]) is (name in ("bert", "gpt2")), "the table of tokens is the head's too"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.data())
def test_no_other_cut_has_a_smaller_largest_stage(sizes, data):
    stages = data.draw(st.integers(1, len(sizes)))
    found = spread(sizes, stages)
    assert sorted(set(found)) == list(range(stages)) and found == sorted(found)

    def least(begin, left):
        if left == 1:
            return sum(sizes[begin:])
        ends = range(begin + 1, len(sizes) - left + 2)
        return min(max(sum(sizes[begin:end]), least(end, left - 1)) for end in ends)

    assert max(sum(n for n, s in zip(sizes, found) if s == stage) for stage in range(stages)) == least(0, stages)


@pytest.mark.parametrize("name, stages, said", [
    ("t5", 2, "one stack of blocks, t5 has 2: backbone.encoder.layers, backbone.decoder.layers\n.*strategy=fsdp"),
    ("gpt2", 3, "3 stages and 2 blocks.*legal: pp times chunks up to 2"),
    ("albert", 2, "2 stages and 1 blocks"),
])  # fmt: skip
def test_what_cannot_be_cut_is_refused_by_name(name, stages, said):
    with pytest.raises(OptionError, match=said):
        cut(models.build(name), stages)


def test_a_part_that_blocks_read_cannot_be_of_another_stage():
    """What a stage has no weights of lies on meta, and is refused where a number is needed."""
    part = built("gpt2", 2)[2][1]
    with pytest.raises(OptionError, match="needs what only another one has"):
        part.entry(torch.zeros(1, device="meta"), bias=torch.zeros(1, device="meta"))


def test_a_second_forward_pass_of_one_call_is_refused():
    _, _, slices = built("gpt2", 2)
    x = torch.zeros(1, 2, 16)
    slices[1].entry.source = lambda like: like
    assert slices[1].entry(x) is x
    with pytest.raises(OptionError, match="one forward pass at a time"):
        slices[1].entry(x)
