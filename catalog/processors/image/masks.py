"""Universal segmentation: MaskFormer, Mask2Former, OneFormer. Cheng et al., 2021 (arXiv:2107.06278)."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.batches import PadBatch, PaddedProcessor
from catalog.processors.image.boxes import as_numpy
from catalog.processors.image.inputs import read_images, read_maps
from catalog.processors.image.processor import Labels
from catalog.processors.image.segments import QuerySegments, upsample
from catalog.processors.image.sizes import Exact, Size, Within
from catalog.processors.image.steps import (
    BILINEAR,
    IMAGENET_MEAN,
    IMAGENET_STD,
    NEAREST,
    Normalize,
    Rescale,
    Step,
    resize,
)


@dataclass(frozen=True)
class ResizeBounded(Step):
    """The shorter edge to ``shortest_edge``, or the longer to ``longest_edge`` if it would exceed it."""

    size: Size
    resample: int = BILINEAR
    do_resize: bool = True
    rules = (Within, Exact)

    def target(self, height, width):
        """(height, width) of the resized image."""
        if isinstance(self.size, Exact):
            return self.size.fit(height, width)
        short, long = self.size.shortest_edge, int(self.size.shortest_edge * max(height, width) / min(height, width))
        if long > self.size.longest_edge:  # another rounding than Within's, as published
            short, long = int(self.size.longest_edge * short / long), self.size.longest_edge
        return (short, long) if height <= width else (long, short)

    def __call__(self, image):
        return resize(image, *self.target(*image.shape[:2]), self.resample) if self.do_resize else image

    def on_map(self, labels):
        return resize(labels, *self.target(*labels.shape), NEAREST) if self.do_resize else labels


@dataclass(frozen=True)
class ResizeUp(ResizeBounded):
    """As ``ResizeBounded``, then both edges up to multiples of ``size_divisor``."""

    size_divisor: int = 32

    def target(self, height, width):
        return [-(-n // self.size_divisor) * self.size_divisor for n in super().target(height, width)]


@dataclass(frozen=True)
class Ignore:
    """Published key: the label that belongs to no segment."""

    ignore_index: int | None = None


class MaskFormerImageProcessor(QuerySegments, PaddedProcessor):
    """MaskFormer: images padded to a batch; label maps become one binary mask per segment."""

    steps = (ResizeUp(Within(800, 1333)), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))
    parts = (PadBatch(), Labels(), Ignore())

    @staticmethod
    def modern(config):
        for old, new in (("reduce_labels", "do_reduce_labels"), ("size_divisibility", "size_divisor")):
            if old in config:
                config[new] = config.pop(old)
        longest = config.pop("max_size", None)
        if isinstance(config.get("size"), int):
            config["size"] = {"shortest_edge": config["size"], "longest_edge": longest or 1333}
        return config

    def __call__(self, images, segmentation_maps=None, instance_id_to_semantic_id=None):
        """Images and, for training, a map of segment ids each, int [H, W].

        instance_id_to_semantic_id   class of each id (a dict, or one per image); without it the ids are the classes
        returns   pixel_values float32 [B, 3, H, W], pixel_mask int64 [B, H, W]; with maps also lists of one item per
                  image: mask_labels float32 [segments, H, W] and class_labels int64 [segments]
        """
        pixels = read_images(images)
        batch = self.batch(pixels)
        if segmentation_maps is None:
            return batch
        maps, size = read_maps(segmentation_maps, pixels), batch["pixel_values"].shape[2:]
        classes = instance_id_to_semantic_id
        classes = classes if isinstance(classes, (list, tuple)) else [classes] * len(maps)
        pairs = [self.segments(m, c, *size) for m, c in zip(maps, classes)]
        return batch | {"mask_labels": [m for m, _ in pairs], "class_labels": [c for _, c in pairs]}

    def segments(self, ids, classes, height, width):
        """One map int32 [H, W] -> (masks float32 [segments, height, width], classes int64 [segments])."""
        reduce = self.part(Labels).do_reduce_labels
        ids = self.steps[0].on_map(self.part(Labels)(ids))
        none = {self.part(Ignore).ignore_index} | ({255} if reduce else set())
        present = [int(i) for i in np.unique(ids) if int(i) not in none]
        masks = np.zeros((len(present), height, width), np.float32)
        for mask, i in zip(masks, present):
            mask[: ids.shape[0], : ids.shape[1]] = ids == i
        if classes is not None:  # its ids and classes count as the file does, before the labels were shifted
            present = [classes[i + reduce] - reduce for i in present]
        return masks, np.array(present, np.int64)


class Mask2FormerImageProcessor(MaskFormerImageProcessor):
    """Mask2Former: its masks are a quarter of the padded input, 384 x 384 as published."""

    def queries(self, outputs):
        logits, masks = super().queries(outputs)
        return logits, np.stack([upsample(image, (384, 384)) for image in as_numpy(masks)])


@dataclass(frozen=True)
class Tasks:
    """Published keys of the class names that OneFormer's training texts are made of."""

    class_info_file: str | None = None
    repo_path: str = "shi-labs/oneformer_demo"
    metadata: dict | None = None
    num_text: int | None = None


class OneFormerImageProcessor(MaskFormerImageProcessor):
    """OneFormer: a task per image goes with the pixels; training texts are not made here."""

    steps = (ResizeBounded(Within(800, 1333)), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))
    parts = (*MaskFormerImageProcessor.parts, Tasks())

    def __call__(self, images, task_inputs, segmentation_maps=None, instance_id_to_semantic_id=None):
        """As MaskFormer, with "task_inputs", one text per image, from the words semantic, instance or panoptic."""
        batch = super().__call__(images, segmentation_maps, instance_id_to_semantic_id)
        tasks = [task_inputs] if isinstance(task_inputs, str) else task_inputs
        if len(tasks) != len(batch["pixel_values"]):
            raise ProcessorError(f"task_inputs: {len(tasks)} for {len(batch['pixel_values'])} images; one per image")
        return batch | {"task_inputs": [f"the task is {task}" for task in tasks]}
