"""DETR and its relatives: images resized within bounds, padded to a batch, COCO boxes as targets, boxes back out.

Carion et al., 2020 (arXiv:2005.12872). The pixels are the same for all; what differs is how outputs become boxes.
"""

from dataclasses import dataclass

from catalog.errors import ProcessorError
from catalog.processors.image.batches import PadBatch
from catalog.processors.image.boxes import ObjectDetection, best_apart, best_pairs, coco_targets
from catalog.processors.image.inputs import read_images
from catalog.processors.image.panoptic import panoptic_targets
from catalog.processors.image.processor import ImageProcessor
from catalog.processors.image.segments import QuerySegments
from catalog.processors.image.sizes import Within
from catalog.processors.image.steps import IMAGENET_MEAN, IMAGENET_STD, Normalize, Rescale, Resize

TARGETS = {"coco_detection": coco_targets, "coco_panoptic": panoptic_targets}


@dataclass(frozen=True)
class Annotations:
    """Published key of the annotation format; boxes always leave as fractions of the image, in centre form."""

    format: str = "coco_detection"
    do_convert_annotations: bool = True

    def __post_init__(self):
        if self.format not in TARGETS or not self.do_convert_annotations:
            raise ProcessorError(
                f"annotations: format={self.format}, do_convert_annotations={self.do_convert_annotations}; "
                f"expected one of {', '.join(TARGETS)}, with converted boxes"
            )


class DetrImageProcessor(ObjectDetection, QuerySegments, ImageProcessor):
    """DETR, Table Transformer: one class a query, the last class means "nothing"."""

    steps = (Resize(Within(800, 1333)), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))
    parts = (PadBatch(), Annotations())

    @staticmethod
    def modern(config):
        """Old files have ``size`` as a number beside ``max_size``, and another name for ``do_pad``."""
        longest = config.pop("max_size", None)
        if isinstance(config.get("size"), int):
            config["size"] = {"shortest_edge": config["size"], "longest_edge": longest or 1333}
        if "pad_and_return_pixel_mask" in config:
            config["do_pad"] = config.pop("pad_and_return_pixel_mask")
        return config

    def __call__(self, images, annotations=None, masks_path=None):
        """Images and, for training, one COCO annotation each (see ``boxes.coco_targets``, ``panoptic.panoptic_targets``).

        masks_path   folder of the segment images, for the format coco_panoptic
        returns      pixel_values float32 [B, 3, H, W]; pixel_mask int64 [B, H, W]; labels, a list of dicts
        """
        pixels = read_images(images)
        ready = [self.apply(image) for image in pixels]
        values, mask = self.part(PadBatch)(ready)
        batch = {"pixel_values": values, "pixel_mask": mask}
        if annotations is None:
            return batch
        annotations = [annotations] if isinstance(annotations, dict) else annotations
        if len(annotations) != len(pixels):
            raise ProcessorError(f"annotations: {len(annotations)} for {len(pixels)} images; give one per image")
        targets = TARGETS[self.part(Annotations).format]
        batch["labels"] = [
            targets(annotation, image.shape[:2], new.shape[:2], f"annotations[{i}]", masks_path)
            for i, (annotation, image, new) in enumerate(zip(annotations, pixels, ready))
        ]
        return batch

    def queries(self, outputs):
        return outputs.logits, outputs.pred_masks


class ConditionalDetrImageProcessor(DetrImageProcessor):
    """Conditional DETR: the best (query, class) pairs."""

    pick = staticmethod(best_pairs)


class DeformableDetrImageProcessor(ConditionalDetrImageProcessor):
    """Deformable DETR."""


class DetaImageProcessor(DetrImageProcessor):
    """DETA: the best pairs that do not overlap a better one of their class."""

    pick = staticmethod(best_apart)


class YolosImageProcessor(DetrImageProcessor):
    """YOLOS: as DETR, without a mask, since its patches have none."""

    def __call__(self, images, annotations=None, masks_path=None):
        batch = super().__call__(images, annotations, masks_path)
        del batch["pixel_mask"]
        return batch
