"""The same pipelines over models of other frameworks: the same answers."""

import numpy as np
import pytest

import catalog
from catalog.processors.image.plain import ViTImageProcessor
from tests.catalog.pipelines.conftest import TEXTS

NEEDS = {"flax": "flax", "tf": "tensorflow"}


def _same(got, wanted):
    """Labels alike, scores within what the order of additions changes."""
    assert [item["label"] for item in got] == [item["label"] for item in wanted]
    assert [item["score"] for item in got] == pytest.approx([item["score"] for item in wanted], abs=1e-5)


@pytest.mark.parametrize("framework", NEEDS)
def test_a_port_answers_as_the_model_does(folder, framework):
    pytest.importorskip(NEEDS[framework])
    path = folder("bert", "sequence-classification", labels=("bad", "good", "so so"))
    here, there = (catalog.pipeline("text-classification", path, framework=f) for f in ("torch", framework))
    _same(there(list(TEXTS)), here(list(TEXTS)))
    path = folder("bert", "multiple-choice")
    asked = {"prompt": "a", "choices": ["a warm film", "no", "an evening in Paris"]}
    got, wanted = (catalog.pipeline("multiple-choice", path, framework=f)(asked) for f in (framework, "torch"))
    assert got["choices"] == wanted["choices"] and got["scores"] == pytest.approx(wanted["scores"], abs=1e-5)
    sizes = {
        "image": 8,
        "patch": 4,
        "width": 16,
        "depth": 1,
        "heads": 2,
        "hidden": 32,
        "labels": ("cat", "dog", "fish"),
    }
    path = folder("vit", "image-classification", ViTImageProcessor({"size": {"height": 8, "width": 8}}), **sizes)
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    _same(*(catalog.pipeline("image-classification", path, framework=f)(image) for f in (framework, "torch")))
