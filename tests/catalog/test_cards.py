"""Cards say what is published; the counts are checked against models built without memory."""

import pytest

import catalog
from catalog import cards, registry
from catalog.building import from_published
from catalog.errors import UnknownModel

COUNTED = {name: preset for name, preset in cards.presets().items() if preset.params}


@pytest.mark.parametrize("preset", cards.presets().values(), ids=cards.presets())
def test_sizes_are_the_published_ones(preset):
    name, head, config = from_published(preset.published())
    model = catalog.build(name, config, head=head, device="meta")
    count = sum(p.numel() for p in model.parameters())
    if preset.params:
        assert count == preset.params
    if preset.params_published == "-":
        return
    unit = {"B": 1e9, "M": 1e6, "K": 1e3}[preset.params_published[-1]]
    published = float(preset.params_published[:-1]) * unit
    assert abs(count - published) <= 0.06 * published, f"{count:,} parameters, published {preset.params_published}"


def test_every_model_has_a_card():
    for name in registry.names():
        card = cards.card(name)
        assert card.sizes and card.paper and card.modality in ("text", "image", "audio", "image-text")


def test_a_row_and_a_size_lead_to_the_model():
    assert cards.card("BertJapanese").model == "bert"
    assert cards.card("bort").model == "bert"
    assert cards.card("bert-large-cased").model == "bert"


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(UnknownModel, match="'bert'"):
        cards.card("brt")
