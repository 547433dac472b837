"""Every image processor gives the published pixels, masks and labels, and its settings survive a file."""

import json

import numpy as np
import pytest

from catalog.processors.image import REGISTRY
from catalog.processors.settings import FILE
from tests.support import processors

NAMES = sorted(name for name in REGISTRY if (processors.FOLDER / f"{name}.json").exists())


@pytest.fixture(params=NAMES)
def case(request):
    return processors.load(request.param)


def build(case):
    return processors.find(REGISTRY, case["class"])(case["config"])


def arguments(case):
    images = processors.inputs(case, "images")
    found = {"images": [images] if case["layout"] == "one video of frames" else images}
    for key in ("segmentation_maps", "trimaps"):
        if key in case:
            found[key] = processors.inputs(case, key)
    return found | {key: case[key] for key in ("annotations", "task_inputs") if key in case}


def test_published_outputs(case):
    processors.expect(build(case)(**arguments(case)), case)


def test_settings_survive_a_file(case, tmp_path):
    processor = build(case)
    processor.save(tmp_path)
    again = type(processor).load(tmp_path)
    assert again == processor
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["image_processor_type"] == case["class"]
    processors.expect_kept(stored, case["config"])


def test_a_batch_is_its_images_one_by_one(case):
    """Every pixel that a single image gives is found, in the same place, in a batch; what is more is padding."""
    given, processor = arguments(case), build(case)
    if case["layout"] != "list of images":
        pytest.skip("a video is one input")
    batch = processor(**given)
    for i, image in enumerate(given["images"]):
        single = processor(image, **{key: value[i : i + 1] for key, value in given.items() if key != "images"})
        for name, value in processors.flat(single).items():
            head, _, rest = name.partition(".")
            whole = processors.flat(batch)[f"{head}.{i}{rest[1:]}"] if rest else batch[name][i]
            alone = np.asarray(value) if rest else value[0]
            window = tuple(slice(0, n) for n in np.shape(alone))
            np.testing.assert_array_equal(np.asarray(whole)[window], alone, err_msg=name)
