"""A published size by its name: fresh weights, its configuration, and what a name that is none is answered."""

import pytest

import catalog
from catalog import cards
from catalog.errors import UnknownField, UnknownModel


def test_a_published_size_is_built_by_its_name():
    large = catalog.config("bert-large-uncased")
    assert (large.width, large.depth, large.heads, large.hidden) == (1024, 24, 16, 4096)
    assert catalog.config("bert-large-uncased", depth=2) == type(large)(
        width=1024, depth=2, heads=16, hidden=4096, extra=large.extra
    )
    model = catalog.build("bert-large-uncased", device="meta")
    assert sum(p.numel() for p in model.parameters()) == cards.presets()["bert-large-uncased"].params
    assert model.name == "bert" and model.head is None


def test_a_small_size_has_fresh_weights_and_a_head():
    model = catalog.build("google/bert_uncased_L-2_H-128_A-2", head="masked-lm", seed=0)
    assert model.head == "masked-lm" and model.out.weight.shape == (30522, 128)
    assert abs(float(model.backbone.layers[1].mlp.up.weight.detach().std()) - 0.02) < 1e-3


def test_a_models_own_name_is_the_model():
    assert catalog.config("gpt2") == type(catalog.config("gpt2"))()


def test_close_names_are_of_models_and_of_sizes():
    with pytest.raises(UnknownModel, match="'bert-large-uncased'"):
        catalog.build("bert-large-uncasd")
    with pytest.raises(UnknownModel, match="'gpt2'"):
        catalog.config("gpt3")
    with pytest.raises(UnknownField, match="did you mean 'depth'"):
        catalog.config("bert-large-uncased", dept=3)
