"""Size rules and steps against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catalog.errors import ProcessorError
from catalog.processors.image.batches import pad_to_largest
from catalog.processors.image.documents import CropMargin, FitPage
from catalog.processors.image.masks import MaskFormerImageProcessor
from catalog.processors.image.multiples import DPTImageProcessor, GLPNImageProcessor
from catalog.processors.image.owlv2 import _along
from catalog.processors.image.plain import CLIPImageProcessor, SegformerImageProcessor, ViTImageProcessor
from catalog.processors.image.ratio import ConvNextImageProcessor, LevitImageProcessor
from catalog.processors.image.sizes import Exact, Longest, Shortest, Within
from catalog.processors.image.steps import BILINEAR, CenterCrop, centre_crop, resize
from catalog.processors.linear import linear

edges = st.integers(1, 3000)


@given(edges, edges, st.integers(1, 600))
def test_shortest_keeps_the_shape(height, width, n):
    h, w = Shortest(n).fit(height, width)
    assert min(h, w) == n
    assert 0 <= max(h, w) - n * max(height, width) / min(height, width) + 1 <= 1 + 1e-6


@given(edges, edges, st.integers(1, 600), st.integers(0, 600))
def test_within_stays_within(height, width, shortest, more):
    h, w = Within(shortest, shortest + more).fit(height, width)
    bounded = shortest + more + max(height, width) / min(height, width)  # the shorter edge was rounded by up to 1/2
    assert min(h, w) <= shortest and max(h, w) <= bounded


@given(edges, edges, st.integers(1, 600))
def test_longest_is_met(height, width, n):
    assert max(Longest(n).fit(height, width)) == n


@pytest.mark.parametrize(
    ("rule", "image", "size"),
    [
        (Shortest(224), (480, 640), (224, 298)),
        (Shortest(224), (640, 480), (298, 224)),
        (Within(800, 1333), (480, 640), (800, 1066)),
        (Within(800, 1333), (427, 1280), (445, 1333)),
        (Longest(1024), (480, 640), (768, 1024)),
        (Exact(3, 4), (480, 640), (3, 4)),
    ],
)
def test_sizes_of_known_images(rule, image, size):
    assert rule.fit(*image) == size


def test_published_forms_of_size():
    base = Shortest(224)
    assert base.read({"height": 3, "width": 4}, "size") == Exact(3, 4)
    assert base.read({"shortest_edge": 3}, "size") == Shortest(3)
    assert base.read({"shortest_edge": 3, "longest_edge": 9}, "size") == Within(3, 9)
    assert base.read({"longest_edge": 9}, "size") == Longest(9)
    assert base.read(256, "size") == Shortest(256)  # a number is read by the rule of the processor
    assert Exact(1, 1).read(256, "size") == Exact(256, 256)
    assert Exact(1, 1).read([3, 4], "size") == Exact(3, 4)
    for wrong in ({"height": 3}, {"height": 0, "width": 3}, -1, True, "224", 2.5, [1, 2, 3], {}):
        with pytest.raises(ProcessorError, match="size: expected"):
            base.read(wrong, "size")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_crop_keeps_the_middle(height, width, crop_height, crop_width):
    image = np.arange(1, height * width + 1).reshape(height, width, 1)
    got = centre_crop(image, crop_height, crop_width)
    assert got.shape == (crop_height, crop_width, 1)
    inside = min(height, crop_height), min(width, crop_width)
    assert np.count_nonzero(got) == inside[0] * inside[1]
    top, left = (max(height - crop_height, 0)) // 2, max(width - crop_width, 0) // 2
    np.testing.assert_array_equal(
        got[got > 0].reshape(inside), image[top : top + inside[0], left : left + inside[1], 0]
    )


def test_crop_pads_as_published():
    got = centre_crop(np.ones((2, 2, 1), np.uint8), 5, 4)[..., 0]
    np.testing.assert_array_equal(got, [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])


def test_resize_is_pillows_rows_first_unless_the_height_shrinks_much_more():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    page = Image.fromarray(pixels)
    rows_first = np.asarray(page.resize((32, 50), BILINEAR).resize((32, 46), BILINEAR))
    np.testing.assert_array_equal(resize(pixels, 46, 32, BILINEAR), rows_first)
    columns_first = np.asarray(page.resize((40, 32), BILINEAR).resize((32, 32), BILINEAR))
    np.testing.assert_array_equal(resize(pixels, 32, 32, BILINEAR), columns_first)
    assert resize(pixels, 50, 40, BILINEAR) is pixels


def plain(kind, height, width, /, **size):
    """Size of the result of a processor for an image of one colour, and that colour."""
    got = kind({"size": size, "do_normalize": False})(np.full((height, width, 3), 51, np.uint8))["pixel_values"]
    np.testing.assert_allclose(got, 0.2, atol=1e-6)
    return got.shape[2:]


def test_ratio_rules():
    assert plain(ConvNextImageProcessor, 300, 500, shortest_edge=224) == (224, 224)  # 256 x 426, then the middle
    assert plain(ConvNextImageProcessor, 300, 500, shortest_edge=384) == (384, 384)  # warped
    image = np.zeros((300, 500, 3), np.uint8)
    image[:, :60] = 255  # outside of the middle 300 x 300, which loses 100 columns a side
    assert ConvNextImageProcessor({"size": 224})(image)["pixel_values"].max() == -1
    assert ConvNextImageProcessor({"size": 384})(image)["pixel_values"].max() == 1
    assert plain(LevitImageProcessor, 300, 500, height=320, width=256) == (224, 224)


def test_multiples():
    got = GLPNImageProcessor()(np.zeros((70, 33, 3), np.uint8))["pixel_values"]
    assert [image.shape for image in got] == [(3, 64, 32)]
    with pytest.raises(ProcessorError, match="must reach 32"):
        GLPNImageProcessor()(np.zeros((31, 64, 3), np.uint8))
    keep = {"size": 384, "keep_aspect_ratio": True, "ensure_multiple_of": 32}
    assert DPTImageProcessor(keep)(np.zeros((480, 640, 3), np.uint8))["pixel_values"].shape == (1, 3, 384, 512)


def test_pages():
    page = np.full((40, 60, 3), 250, np.uint8)
    page[10:20, 15:45] = 0
    page[10, 15] = 120
    np.testing.assert_array_equal(CropMargin()(page), page[10:20, 15:45])
    blank = np.full((4, 6, 3), 250, np.uint8)
    assert CropMargin()(blank) is blank
    got = FitPage(Exact(8, 12))(np.full((30, 10, 3), 9, np.uint8))[..., 0]
    np.testing.assert_array_equal(got, np.where((np.arange(12) > 4) & (np.arange(12) < 7), 9, 0) * np.ones((8, 1)))
    turned = FitPage(Exact(12, 6), do_align_long_axis=True)(np.full((6, 12, 3), 9, np.uint8))
    assert turned.min() == 9 and turned.shape == (12, 6, 3)
    with pytest.raises(ProcessorError, match="exceeds the frame"):
        FitPage(Exact(8, 12), do_thumbnail=False)(np.zeros((30, 10, 3), np.uint8))


def test_labels_are_reduced_and_moved_with_the_image():
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    processor = SegformerImageProcessor({"size": 4, "reduce_labels": True})
    got = processor(np.zeros((2, 2, 3), np.uint8), labels)["labels"]
    np.testing.assert_array_equal(got[0], np.repeat(np.repeat([[255, 0], [1, 255]], 2, 0), 2, 1))
    for wrong in ([labels, labels], labels[:1]):
        with pytest.raises(
            ProcessorError, match=r"segmentation_maps: sizes .* the images have \[\(2, 2\)\]; give one map"
        ):
            processor(np.zeros((2, 2, 3), np.uint8), wrong)
    for form in ([labels], labels[None], Image.fromarray(labels)):
        same = processor(np.zeros((2, 2, 3), np.uint8), form)["labels"]
        np.testing.assert_array_equal(same, got)


def test_segments_of_a_map():
    ids = np.array([[0, 5], [7, 255]])
    processor = MaskFormerImageProcessor({"size": {"shortest_edge": 2, "longest_edge": 4}, "ignore_index": 255})
    got = processor(np.zeros((2, 2, 3), np.uint8), ids)
    assert got["pixel_values"].shape == (1, 3, 32, 32)
    np.testing.assert_array_equal(got["class_labels"][0], [0, 5, 7])
    np.testing.assert_array_equal(got["mask_labels"][0].sum((1, 2)), [256, 256, 256])
    got = processor(np.zeros((2, 2, 3), np.uint8), [ids], {0: 1, 5: 3, 7: 3})
    np.testing.assert_array_equal(got["class_labels"][0], [1, 3, 3])
    reduced = MaskFormerImageProcessor({"size": {"height": 32, "width": 32}, "do_reduce_labels": True})
    got = reduced(np.zeros((2, 2, 3), np.uint8), ids, {5: 9, 7: 4})
    np.testing.assert_array_equal(got["class_labels"][0], [8, 3])  # counted as the file does, then shifted by one


def test_padding_and_its_mask():
    values, mask = pad_to_largest([np.ones((2, 3, 1), np.float32), np.ones((4, 1, 1), np.float32)])
    assert values.shape == (2, 1, 4, 3)
    np.testing.assert_array_equal(values[:, 0], mask)
    np.testing.assert_array_equal(mask[0], [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]])


def test_images_of_several_sizes_are_refused_without_resizing():
    sizes = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]
    with pytest.raises(ProcessorError, match=r"images of different sizes \[\(4, 4\), \(4, 5\)\] after all steps"):
        ViTImageProcessor({"do_resize": False})(sizes)


def test_switches():
    image = np.random.default_rng(0).integers(0, 256, (300, 250, 3), dtype=np.uint8)
    off = dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), False)
    got = CLIPImageProcessor(off)(image)["pixel_values"]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got[0], image.transpose(2, 0, 1))


def test_a_step_refuses_a_size_it_cannot_take():
    with pytest.raises(ProcessorError, match=r"ConvNextImageProcessor: size: expected shortest_edge, found Exact"):
        ConvNextImageProcessor({"size": {"height": 4, "width": 4}})
    with pytest.raises(ProcessorError, match="crop_size: expected height and width"):
        CenterCrop(Shortest(3))
    with pytest.raises(ProcessorError, match="resample: expected a number of Pillow's filters"):
        ViTImageProcessor({"resample": 9})


@given(st.integers(1, 12), st.integers(1, 30), st.booleans())
def test_linear_keeps_lines_and_constants(n, size, mirrored):
    np.testing.assert_allclose(linear(np.full((n, 2), 3.0), size, mirrored), 3.0)
    line = linear(np.arange(n, dtype=np.float64), size)
    np.testing.assert_allclose(line, np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1), atol=1e-5)
    np.testing.assert_array_equal(linear(np.arange(n), n, mirrored), np.arange(n))


def test_shrinking_blurs_first():
    """A grid finer than the result becomes grey, instead of whichever lines happen to be hit."""
    fine = np.tile([0.0, 1.0], 60)[:, None]
    np.testing.assert_allclose(_along(fine, 10), 0.5, atol=0.01)
