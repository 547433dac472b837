"""COCO panoptic annotations -> the labels of DETR with masks. Kirillov et al., 2018 (arXiv:1801.00868)."""

from pathlib import Path

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.boxes import labels
from catalog.processors.image.inputs import read_image
from catalog.processors.image.steps import NEAREST, resize


def panoptic_targets(annotation, original, resized, name="annotations", masks_path=None):
    """One image's panoptic annotation and its segment image -> labels, as ``boxes.coco_targets``, with masks.

    annotation   {"image_id", "file_name", "segments_info": [{"id", "category_id", "area", "iscrowd"}, ...]}
    masks_path   folder that holds ``file_name``: an RGB image of ``original`` size, id = R + 256 G + 65536 B
    returns      the labels, and masks bool [N, height, width] of the ``resized`` image
    Raises ProcessorError.
    """
    if masks_path is None:
        raise ProcessorError(f"{name}: the format coco_panoptic needs masks_path, the folder of the segment images")
    try:
        segments, image_id = annotation["segments_info"], annotation["image_id"]
        folder = Path(masks_path).resolve()
        path = (folder / annotation["file_name"]).resolve()
        ids = np.array([s["id"] for s in segments], np.int64)
        classes = np.array([s["category_id"] for s in segments], np.int64)
        area = np.array([s["area"] for s in segments], np.float32)
        crowd = np.array([s.get("iscrowd", 0) for s in segments], np.int64)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProcessorError(
            f"{name}: expected image_id, file_name and segments_info, each with id, category_id and area; "
            f"problem at {error}"
        ) from None
    if folder not in path.parents:
        raise ProcessorError(f"{name}: file_name '{annotation['file_name']}' leads out of {masks_path}")
    page = read_image(path).astype(np.int64) @ (1, 256, 65536)
    if page.shape != tuple(original):
        raise ProcessorError(f"{path}: {page.shape} pixels, its image has {tuple(original)}")
    masks = page == ids[:, None, None]
    for number, mask in zip(ids, masks):
        if not mask.any():
            raise ProcessorError(f"{path}: no pixel of segment {number}, which {name} lists")
    small = [resize(mask.astype(np.uint8), *resized, NEAREST).astype(bool) for mask in masks]
    found = labels(image_id, classes, _around(masks), area, crowd, original, resized)
    return found | {"masks": np.array(small, bool).reshape(len(ids), *resized)}


def _around(masks):
    """Boxes by the outermost pixels of masks [N, H, W] -> float32 [N, 4], corners; the last pixel's index, as published."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box[:] = columns[0], rows[0], columns[-1], rows[-1]
    return boxes
