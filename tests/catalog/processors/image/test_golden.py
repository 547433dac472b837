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
    """The images of a golden file, and what goes with them."""
    images = processors.inputs(case, "images")
    found = {key: processors.inputs(case, key) for key in ("segmentation_maps", "trimaps") if key in case}
    found |= {key: case[key] for key in ("annotations", "task_inputs") if key in case}
    if "codebook_pixel_values" in case["outputs"]:
        found["return_codebook_pixels"] = True
    return [images] if case["layout"] == "one video of frames" else images, found


def test_published_outputs(case):
    images, others = arguments(case)
    got = build(case)(images, **others)
    if case["class"] == "IdeficsImageProcessor":
        # The reference divides by a missing deviation (all NaN in the file); ours falls back on CLIP's, as it documents.
        clip = processors.find(REGISTRY, "BlipImageProcessor")({"size": {"height": 224, "width": 224}})
        np.testing.assert_array_equal(got["pixel_values"], clip(images)["pixel_values"])
    else:
        processors.expect(got, case)


def test_settings_survive_a_file(case, tmp_path):
    processor = build(case)
    processor.save(tmp_path)
    again = type(processor).load(tmp_path)
    assert again == processor
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["image_processor_type"] == case["class"]
    processors.expect_kept(stored, case["config"])


def test_a_batch_is_its_images_one_by_one(case):
    """Every number that a single image gives is found, in the same place, in a batch; what is more is padding."""
    images, others = arguments(case)
    processor = build(case)
    batch = processor(images, **others)
    for i in range(len(images)):
        own = {key: value[i : i + 1] if isinstance(value, list) else value for key, value in others.items()}
        single = processors.flat(processor(images[i : i + 1], **own))
        for name, value in single.items():
            head, _, rest = name.partition(".")
            whole = processors.flat(batch)[f"{head}.{i}{rest[1:]}"] if rest else batch[name][i]
            alone = value if rest else value[0]
            window = tuple(slice(0, n) for n in np.shape(alone))
            np.testing.assert_array_equal(np.asarray(whole)[window], alone, err_msg=name)
