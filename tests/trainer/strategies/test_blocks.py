"""The blocks of every published architecture."""

import pytest
from torch import nn

import catalog
from catalog import registry
from trainer.strategies.blocks import blocks

STACKS = {
    "bert": {"layers": 12},
    "albert": {"layers": 1},
    "t5": {"encoder.layers": 6, "decoder.layers": 6},
    "clip": {"text.layers": 12, "vision.layers": 12},
    "swin": {"stages.0.blocks": 2, "stages.1.blocks": 2, "stages.2.blocks": 6, "stages.3.blocks": 2},
    "resnet": {"stages.0.blocks": 3, "stages.1.blocks": 4, "stages.2.blocks": 6, "stages.3.blocks": 3},
}


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_is_found(name):
    found = blocks(catalog.build(name, device="meta"))
    count = {}
    for path in found:
        stack = path.rpartition(".")[0]
        count[stack] = count.get(stack, 0) + 1
    assert count == STACKS[name]


@pytest.mark.parametrize("name", registry.names())
def test_no_block_is_inside_another_and_every_model_has_some(name):
    model = catalog.build(name, device="meta")
    found = blocks(model)
    assert found and all(model.get_submodule(path) is block for path, block in found.items())
    assert not [(a, b) for a in found for b in found if a != b and a.startswith(f"{b}.")]
    assert len({id(p) for b in found.values() for p in b.parameters()}) == sum(
        len(list(b.parameters())) for b in found.values()
    ), "no two blocks share a parameter"


def test_blocks_of_a_head_are_those_of_its_backbone():
    found = blocks(catalog.build("bert", device="meta", head="sequence-classification"))
    assert list(found) == [f"backbone.layers.{i}" for i in range(12)]


def test_a_list_of_single_layers_is_none():
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    assert not blocks(model)
