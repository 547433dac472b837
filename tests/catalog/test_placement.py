"""A model spread over memory and disk computes what the whole model does, and its blocks stay whole."""

import pytest
import torch

import catalog
from catalog.errors import LoadError, SaveError
from catalog.placement import blocks
from tests.support import golden

CASES = [
    "bert/BertForSequenceClassification",
    "bert/BertForMaskedLM",  # tied
    "gpt2/GPT2LMHeadModel",  # tied, and tensors that part
    "t5/T5ForConditionalGeneration",  # tied, one table of biases for all layers
    "llama/LlamaForCausalLM",
]


def outputs(model, case):
    with torch.no_grad():
        return model(**case.inputs).logits


def case_of(name):
    return golden.Golden(golden.FOLDER / f"{name}.json")


def size(module):
    return sum(p.nbytes for p in module.parameters())


@pytest.mark.parametrize("name", CASES)
def test_little_memory_sends_blocks_to_the_disk(name, tmp_path):
    case = case_of(name)
    folder = case.write(tmp_path / "model")
    whole = catalog.load(folder)
    room = size(whole) - size(next(iter(blocks(whole).values())))
    model = catalog.load(folder, device_map="auto", max_memory={"cpu": room}, offload_folder=tmp_path / "disk")
    assert {"cpu", "disk"} == set(model.hf_device_map.values())
    for path, block in blocks(model).items():
        assert len({parameter.device.type for parameter in block.parameters()}) == 1, f"{path} is split"
    assert any(p.is_meta for p in model.parameters()) and any((tmp_path / "disk").glob("*.dat"))
    for _ in range(2):  # the second pass reads the disk again
        assert torch.equal(outputs(model, case), outputs(whole, case))


def test_everything_may_be_on_the_disk(tmp_path):
    case = case_of("bert/BertForMaskedLM")
    folder = case.write(tmp_path / "model")
    model = catalog.load(folder, device_map={"": "disk"}, offload_folder=tmp_path / "disk")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert torch.equal(outputs(model, case), outputs(catalog.load(folder), case))
    with pytest.raises(SaveError, match="Load it without device_map"):
        catalog.save(model, tmp_path / "saved")


def test_room_for_all_is_a_model_like_any_other(tmp_path):
    case = case_of("gpt2/GPT2LMHeadModel")
    folder = case.write(tmp_path / "model")
    model = catalog.load(folder, device_map="auto", max_memory={"cpu": "1GiB"})
    assert model.hf_device_map == {"": "cpu"} and model.out.weight is model.backbone.embed.tokens.weight
    assert torch.equal(outputs(model, case), outputs(catalog.load(folder), case))


def test_a_fresh_head_and_another_type_are_placed_too(tmp_path):
    case = case_of("bert/BertForMaskedLM")
    folder = case.write(tmp_path / "model")
    places = {"backbone.embed": "cpu", "backbone.layers": "disk", "out": "disk"}
    model = catalog.load(
        folder, head="token-classification", new=["out.*"], dtype=torch.bfloat16, device_map=places,
        offload_folder=tmp_path / "disk",
    )  # fmt: skip
    with torch.no_grad():
        logits = model(input_ids=case.inputs["input_ids"]).logits
    assert logits.dtype == torch.bfloat16 and logits.isfinite().all() and logits.float().std() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_map": {"backbone": "disk", "out": "cpu"}}, "give offload_folder="),
        ({"device_map": {"backbon": "cpu"}}, "did you mean 'backbone'"),
        ({"device_map": {"backbone.layers.0.attn": "cpu", "": "disk"}}, r"would split backbone\.layers\.0"),
        ({"device_map": {"backbone": "cpu"}}, "without a device: out.weight"),
        ({"device_map": "most"}, "it is 'auto' or a table"),
        ({"device_map": {"": "cpu"}, "max_memory": {"cpu": 1}}, "a table says itself"),
        ({"device_map": "auto", "device": "cpu"}, "give one of them"),
        ({"max_memory": {"cpu": 1}}, "add device_map"),
        ({"device_map": "auto", "framework": "flax"}, "places arrays itself"),
    ],
)
def test_maps_that_cannot_be_are_answered(tmp_path, options, message):
    folder = case_of("bert/BertForSequenceClassification").write(tmp_path / "model")
    with pytest.raises(LoadError, match=message):
        catalog.load(folder, **options)


@pytest.mark.gpu
def test_a_model_over_a_gpu_memory_and_disk(tmp_path):
    case = case_of("gpt2/GPT2LMHeadModel")
    folder = case.write(tmp_path / "model")
    whole = catalog.load(folder)
    depth = len(whole.backbone.layers)
    places = {"backbone.embed": 0, "backbone.layers.0": "cpu", "backbone.norm": 0, "out": 0}
    places |= {f"backbone.layers.{i}": "disk" for i in range(1, depth)}
    model = catalog.load(folder, device_map=places, offload_folder=tmp_path / "disk")
    assert model.backbone.embed.tokens.weight.is_cuda
    torch.testing.assert_close(outputs(model, case).cpu(), outputs(whole, case), rtol=1e-4, atol=1e-4)
