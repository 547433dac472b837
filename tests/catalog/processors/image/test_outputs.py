"""Model outputs back to boxes and segments, and annotations to targets, against values worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from catalog.errors import ProcessorError
from catalog.processors.image.boxes import best_apart, coco_targets, to_centres, to_corners
from catalog.processors.image.detr import (
    ConditionalDetrImageProcessor,
    DetaImageProcessor,
    DetrImageProcessor,
    YolosImageProcessor,
)
from catalog.processors.image.masks import Mask2FormerImageProcessor, MaskFormerImageProcessor
from catalog.processors.image.owlv2 import Owlv2ImageProcessor
from catalog.processors.image.plain import OwlViTImageProcessor, SegformerImageProcessor
from catalog.processors.image.sam import SamImageProcessor
from catalog.processors.image.segments import upsample

BOXES = np.array([[[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.0]]], np.float32)


@given(arrays(np.float64, (4, 4), elements=st.floats(0, 1)))
def test_corners_invert_centres(boxes):
    np.testing.assert_allclose(to_corners(to_centres(boxes)), boxes, atol=1e-12)


def test_one_class_a_query():
    """Softmax over three classes and "nothing"; boxes in pixels of images of 100 x 200."""
    logits = np.log(np.array([[[0.1, 0.7, 0.1, 0.1], [0.3, 0.1, 0.1, 0.5]]], np.float32))
    outputs = SimpleNamespace(logits=logits, pred_boxes=BOXES)
    (found,) = DetrImageProcessor().post_process_object_detection(outputs, 0.5, [(100, 200)])
    np.testing.assert_allclose(found["scores"], [0.7], atol=1e-6)
    np.testing.assert_array_equal(found["labels"], [1])
    np.testing.assert_allclose(found["boxes"], [[80, 30, 120, 70]], atol=1e-4)
    (weak,) = DetrImageProcessor().post_process_object_detection(outputs, 0.2)
    np.testing.assert_array_equal(weak["labels"], [1, 0])
    np.testing.assert_allclose(weak["boxes"][1], [0, 0, 0.5, 1], atol=1e-6)
    with pytest.raises(ProcessorError, match="target_sizes: 2 sizes for 1 images"):
        DetrImageProcessor().post_process_object_detection(outputs, 0.5, [(1, 1), (1, 1)])


def test_best_pairs():
    """Sigmoid: one query may give two classes."""
    torch = pytest.importorskip("torch")
    logits = torch.tensor([[[2.0, 1.0], [-3.0, 0.5]]], dtype=torch.bfloat16, requires_grad=True)
    outputs = SimpleNamespace(logits=logits, pred_boxes=torch.from_numpy(BOXES))
    (found,) = ConditionalDetrImageProcessor().post_process_object_detection(outputs, 0.5)
    np.testing.assert_allclose(found["scores"], 1 / (1 + np.exp([-2.0, -1.0, -0.5])), atol=1e-6)
    np.testing.assert_array_equal(found["labels"], [0, 1, 1])
    np.testing.assert_allclose(found["boxes"], to_corners(BOXES)[0][[0, 0, 1]], atol=1e-6)


def test_overlapping_boxes_of_one_class_go_out():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 6.9], [20, 20, 30, 30]], np.float32)
    logits = np.array([[3, -9], [2, 1], [1, -9], [0, -9]], np.float32)
    scores, labels, kept = best_apart(logits, boxes)
    first = scores > 0.4
    np.testing.assert_array_equal(labels[first], [0, 1, 0, 0])  # overlap 0.9 goes out within class 0 only, 0.69 stays
    np.testing.assert_array_equal(kept[first], boxes[[0, 1, 2, 3]])
    assert DetaImageProcessor.pick is best_apart


def test_queries_for_texts():
    outputs = SimpleNamespace(logits=np.array([[[2.0, 1.0], [-3.0, 0.5]]], np.float32), pred_boxes=BOXES)
    (found,) = OwlViTImageProcessor().post_process_object_detection(outputs, 0.1, [(100, 200)])
    np.testing.assert_allclose(found["scores"], 1 / (1 + np.exp([-2.0, -0.5])), atol=1e-6)
    np.testing.assert_array_equal(found["labels"], [0, 1])
    np.testing.assert_allclose(found["boxes"][0], [80, 30, 120, 70], atol=1e-4)
    (square,) = Owlv2ImageProcessor().post_process_object_detection(outputs, 0.1, [(100, 200)])
    np.testing.assert_allclose(square["boxes"][0], [80, 60, 120, 140], atol=1e-4)  # of 200 x 200, padded at the bottom


def test_masks_of_prompts():
    """The left half of an image of 6 x 8, which fills the upper three quarters of a frame of 16 x 16."""
    processor = SamImageProcessor({"size": {"longest_edge": 16}, "pad_size": {"height": 16, "width": 16}})
    sizes = processor(np.zeros((6, 8, 3), np.uint8))
    logits = np.where(np.arange(4) < 2, 5.0, -5.0) * np.ones((1, 2, 4, 4))
    logits[:, 1] *= -1
    (masks,) = processor.post_process_masks([logits], sizes["original_sizes"], sizes["reshaped_input_sizes"])
    left = np.broadcast_to(np.arange(8) < 4, (6, 8))
    np.testing.assert_array_equal(masks, [[left, ~left]])


def test_coco_targets_clip_and_drop():
    annotation = {
        "image_id": 3,
        "annotations": [
            {"bbox": [-5, 10, 15, 20], "category_id": 4, "area": 300},
            {"bbox": [90, 10, 50, 10], "category_id": 5},
            {"bbox": [120, 10, 5, 5], "category_id": 6, "area": 25},
            {"bbox": [0, 0, 50, 50], "category_id": 7, "area": 2500, "iscrowd": 1},
        ],
    }
    got = coco_targets(annotation, (50, 100), (100, 200))
    np.testing.assert_array_equal(got["class_labels"], [4, 5])
    np.testing.assert_allclose(got["boxes"], [[0.05, 0.4, 0.1, 0.4], [0.95, 0.3, 0.1, 0.2]], atol=1e-6)
    np.testing.assert_allclose(got["area"], [1200, 2000])
    np.testing.assert_array_equal(got["size"], [100, 200])
    empty = coco_targets({"image_id": 1, "annotations": []}, (5, 5), (5, 5))
    assert empty["boxes"].shape == (0, 4) and empty["class_labels"].dtype == np.int64
    for wrong in ({"annotations": []}, {"image_id": 1, "annotations": [{"bbox": [1, 2, 3, 4]}]}, [1]):
        with pytest.raises(ProcessorError, match=r"annotations: expected image_id and annotations.*problem at"):
            coco_targets(wrong, (5, 5), (5, 5))


def test_targets_need_an_image_each():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ProcessorError, match="annotations: 1 for 2 images"):
        DetrImageProcessor({"size": {"height": 8, "width": 8}})([image, image], {"image_id": 1, "annotations": []})
    got = YolosImageProcessor({"size": {"height": 8, "width": 8}})(image, [{"image_id": 1, "annotations": []}])
    assert got.keys() == {"pixel_values", "labels"}


def test_panoptic_targets(tmp_path):
    ids = np.zeros((4, 6), int)
    ids[1:3, 2:5], ids[3] = 70000, 5
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(tmp_path / "a.png")
    segments = [{"id": 70000, "category_id": 8, "area": 6, "iscrowd": 0}, {"id": 5, "category_id": 9, "area": 6}]
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": segments}
    processor = DetrImageProcessor({"format": "coco_panoptic", "size": {"height": 8, "width": 12}})
    image = np.zeros((4, 6, 3), np.uint8)
    (got,) = processor(image, annotation, masks_path=tmp_path)["labels"]
    np.testing.assert_array_equal(got["class_labels"], [8, 9])
    np.testing.assert_array_equal(got["masks"], [np.kron(ids == i, np.ones((2, 2), bool)) for i in (70000, 5)])
    np.testing.assert_allclose(got["boxes"][0], [3 / 6, 1.5 / 4, 2 / 6, 1 / 4], atol=1e-6)
    np.testing.assert_allclose(got["area"], [24, 24])
    for change, words in (
        ({"file_name": "../a.png"}, "leads out of"),
        ({"file_name": "b.png"}, r"b\.png: no such image file"),
        ({"segments_info": [{**segments[0], "id": 6}]}, "no pixel of segment 6"),
        ({"segments_info": [{}]}, "expected image_id, file_name and segments_info"),
    ):
        with pytest.raises(ProcessorError, match=words):
            processor(image, annotation | change, masks_path=tmp_path)
    with pytest.raises(ProcessorError, match="needs masks_path"):
        processor(image, annotation)
    with pytest.raises(ProcessorError, match="only the format coco_panoptic has masks"):
        DetrImageProcessor({"size": 8})(image, {"image_id": 1, "annotations": []}, masks_path=tmp_path)


def test_upsampling_is_bilinear_like_torch():
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    for size in ((11, 4), (5, 7), (10, 21)):
        want = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], size, mode="bilinear")[0]
        np.testing.assert_allclose(upsample(maps, size), want.numpy(), atol=1e-6)


def test_semantic_maps_of_class_scores():
    logits = np.zeros((1, 2, 2, 2), np.float32)
    logits[0, 1, :, 1] = 1
    logits[0, 0, :, 0] = 1
    outputs = SimpleNamespace(logits=logits)
    (small,) = SegformerImageProcessor().post_process_semantic_segmentation(outputs)
    np.testing.assert_array_equal(small, [[0, 1], [0, 1]])
    (large,) = SegformerImageProcessor().post_process_semantic_segmentation(outputs, [(2, 4)])
    np.testing.assert_array_equal(large, [[0, 0, 1, 1]] * 2)


def queries():
    """Four queries over a row of four pixels: a sure class 0 on the left, class 1 twice on the right, one "nothing"."""
    chances = [[0.9, 0.05, 0.05], [0.05, 0.8, 0.15], [0.05, 0.75, 0.2], [0.1, 0.1, 0.8]]
    masks = np.array([[9, 9, -9, -9], [-9, -9, 9, -9], [-9, -9, -9, 9], [9, 9, 9, 9]], np.float32)
    return np.log(np.array([chances], np.float32)), masks[None, :, None]


def test_segments_of_queries():
    logits, masks = queries()
    outputs = SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)
    processor = MaskFormerImageProcessor()
    (semantic,) = processor.post_process_semantic_segmentation(outputs)
    np.testing.assert_array_equal(semantic, [[0, 0, 1, 1]])
    (found,) = processor.post_process_panoptic_segmentation(outputs)
    np.testing.assert_array_equal(found["segmentation"], [[1, 1, 2, 3]])
    assert [(s["id"], s["label_id"], s["was_fused"]) for s in found["segments_info"]] == [
        (1, 0, False), (2, 1, False), (3, 1, False),
    ]  # fmt: skip
    assert found["segments_info"][0]["score"] == pytest.approx(0.9, abs=1e-5)
    (fused,) = processor.post_process_panoptic_segmentation(outputs, label_ids_to_fuse={1}, target_sizes=[(2, 4)])
    np.testing.assert_array_equal(fused["segmentation"], [[1, 1, 2, 2]] * 2)
    assert [s["id"] for s in fused["segments_info"]] == [1, 2]
    (none,) = processor.post_process_panoptic_segmentation(outputs, threshold=0.95)
    assert not none["segmentation"].any() and none["segments_info"] == []
    detr = SimpleNamespace(logits=logits, pred_masks=masks)
    (same,) = DetrImageProcessor().post_process_panoptic_segmentation(detr)
    np.testing.assert_array_equal(same["segmentation"], found["segmentation"])
    (large,) = Mask2FormerImageProcessor().post_process_semantic_segmentation(outputs)
    np.testing.assert_array_equal(large[0, [0, 150, 250, 383]], [0, 0, 1, 1])


def test_a_mostly_hidden_query_is_no_segment():
    logits = np.log(np.array([[[0.9, 0.05, 0.05], [0.05, 0.8, 0.15]]], np.float32))
    masks = np.array([[[[9, 9, 9, -9]], [[9, 9, 9, 9]]]], np.float32)
    outputs = SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)
    (found,) = MaskFormerImageProcessor().post_process_panoptic_segmentation(outputs)
    np.testing.assert_array_equal(found["segmentation"], [[1, 1, 1, 0]])
    assert [s["label_id"] for s in found["segments_info"]] == [0]
