"""What tensor and context parallelism refuse before anything is loaded, each with the nearest legal choice."""

import pytest
import torch
from torch import nn

import catalog
from catalog import adapters
from tests.support import training
from trainer.errors import OptionError
from trainer.strategies import context_parallel, mesh, tensor_parallel


def llama(heads=6, kv_heads=2):
    sizes = {"vocab": 32, "width": 24, "depth": 2, "hidden": 32, "positions": 16}
    config = catalog.config("llama", heads=heads, kv_heads=kv_heads, **sizes)
    return catalog.build("llama", config, head="causal-lm", device="meta")


def resnet():
    return catalog.build("resnet", catalog.config("resnet", depths=(1, 1, 1, 1)), device="meta")


def test_key_value_heads_bound_tensor_parallelism():
    with pytest.raises(OptionError) as error:
        tensor_parallel.check(llama(), 3)
    assert "backbone.layers.0.attn: key/value heads: 2; legal: tp=1,2" in str(error.value)
    assert "the nearest is strategy.tp=2" in str(error.value) and error.value.exit_code == 2
    tensor_parallel.check(llama(), 2)


def test_heads_bound_context_parallelism():
    with pytest.raises(OptionError) as error:
        context_parallel.check(llama(), 4)
    assert "strategy.cp=4 does not divide llama: backbone.layers.*.attn has 6 heads; legal: cp=1,2,3,6" in str(
        error.value
    )
    assert "the nearest is strategy.cp=3" in str(error.value)
    context_parallel.check(llama(), 3)  # more processes than key/value heads: some heads go to several


@pytest.mark.parametrize("name", ["tp", "fsdp_tp", "cp"])
def test_compiled_blocks_are_refused(name):
    with pytest.raises(OptionError, match=r"strategy\.compile=true and strategy="):
        mesh.sizes(training.spread(name, compile=True), 4)


@pytest.mark.parametrize("way", [tensor_parallel, context_parallel])
def test_a_model_without_attention_is_refused_by_name(way):
    with pytest.raises(OptionError, match="to divide in resnet") as error:
        way.check(resnet(), 2)
    assert "strategy=fsdp" in str(error.value)


def test_parts_that_the_plan_does_not_know_are_refused_by_name():
    model = llama()
    model.backbone.layers[1].attn.norm = nn.LayerNorm(4, device="meta")  # over each head: parts of it would go unseen
    with pytest.raises(OptionError, match=r"cannot divide backbone\.layers\.1\.attn\.norm\.weight of llama"):
        tensor_parallel.check(model, 2)


def test_matrices_that_are_more_than_a_matrix_are_refused_by_name():
    config = catalog.config("gpt2", vocab=32, width=16, depth=1, heads=2, positions=8)
    model = catalog.build("gpt2", config, head="causal-lm")
    adapters.add(model, ["attn.{q,v}"], rank=2, alpha=4.0, dropout=0.0, base="as_is", also=[])
    with pytest.raises(OptionError, match=r"cannot divide backbone\.layers\.0\.attn\.q of gpt2"):
        tensor_parallel.check(model, 2)


def test_token_tables_are_divided_where_each_process_gets_a_row():
    model = nn.ModuleDict({"embed": nn.Embedding(33, 4), "other": nn.Embedding(33, 4)})
    assert tensor_parallel.tables(model, 4) == [model["embed"]]  # 9, 9, 9 and 6 rows
    assert tensor_parallel.tables(nn.ModuleDict({"embed": nn.Embedding(5, 4)}), 4) == []  # 2, 2, 1 and none


def test_runs_of_tokens_are_equally_long():
    class Group:
        def size(self):
            return 3

        def rank(self):
            return 2

    stack = context_parallel.Divided(Group())
    assert torch.equal(stack.part(torch.arange(7.0)[None, :, None]), torch.tensor([[[6.0], [0.0], [0.0]]]))
    assert stack.part(torch.ones(1, 2, 4)).sum() == 0  # fewer tokens than processes: this one has none
