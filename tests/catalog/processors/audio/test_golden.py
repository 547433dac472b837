"""Every feature extractor gives the published frames, and its settings survive a file."""

import json

import pytest

from catalog.processors.audio import REGISTRY
from catalog.processors.settings import FILE
from tests.support import processors

NAMES = sorted(name for name in REGISTRY if (processors.FOLDER / f"{name}.json").exists())


@pytest.fixture(params=NAMES)
def case(request):
    return processors.load(request.param)


def build(case):
    return processors.find(REGISTRY, case["class"])(case["config"])


def test_published_outputs(case):
    extractor, waves, call = build(case), processors.inputs(case, "waveforms"), dict(case["call"])
    del call["return_tensors"]  # always numpy
    if case["class"] == "ClapFeatureExtractor":
        assert extractor.config["padding"] == call.pop("padding")  # a setting, not an argument
    if case["class"] == "ASTFeatureExtractor":
        call.pop("padding", None)  # always to the length in the settings
    got = extractor(waves, **call)
    if any(name.startswith("target.") for name in case["outputs"]):
        got["target"] = extractor.target(waves, **call)
    processors.expect(got, case)


def test_settings_survive_a_file(case, tmp_path):
    extractor = build(case)
    extractor.save(tmp_path)
    assert type(extractor).load(tmp_path) == extractor
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["feature_extractor_type"] == case["class"]
    processors.expect_kept(stored, case["config"])
