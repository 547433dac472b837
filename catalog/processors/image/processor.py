"""The image processor: images in, ``pixel_values`` out, by a tuple of steps that each processor declares."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.inputs import read_images, read_maps
from catalog.processors.settings import Processor


class ImageProcessor(Processor):
    """Base of all image processors. A subclass declares ``steps`` and is otherwise the published class of that name."""

    type_key = "image_processor_type"

    def __call__(self, images):
        """Images (see ``inputs.read_images``) -> {"pixel_values": float32 [B, C, H, W]}."""
        return self.batch(read_images(images))

    def batch(self, images):
        """Images uint8 [H, W, 3] -> the named arrays of a call."""
        return {"pixel_values": stack([self.apply(image) for image in images])}

    def apply(self, image):
        """All steps on one image, uint8 [H, W, 3] -> [H, W, C]."""
        for step in self.steps:
            image = step(image)
        return image


def channels_first(image):
    """[H, W, C] -> [C, H, W], contiguous."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def stack(images):
    """Images [H, W, C] of one size -> [B, C, H, W]; sizes that differ are an error that names them."""
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise ProcessorError(
            f"pixel_values: images of different sizes {sorted(sizes)} after all steps; "
            "switch on the steps that make them equal (do_resize, do_center_crop) or give one image at a time"
        )
    return np.stack([channels_first(image) for image in images])


@dataclass(frozen=True)
class Labels:
    """How label maps are read: ``do_reduce_labels`` drops class 0 (becomes 255, ignored) and shifts the others down."""

    do_reduce_labels: bool = False

    def __call__(self, labels):
        if not self.do_reduce_labels:
            return labels
        return np.where((labels == 0) | (labels == 255), 255, labels - 1).astype(labels.dtype)


class SegmentationProcessor(ImageProcessor):
    """An image processor that takes one label map per image too; ``parts`` holds ``Labels``."""

    @staticmethod
    def modern(config):
        if "reduce_labels" in config:
            config["do_reduce_labels"] = config.pop("reduce_labels")
        return config

    def __call__(self, images, segmentation_maps=None):
        """As ``ImageProcessor``; with ``segmentation_maps`` also "labels": int64 [B, H, W]."""
        pixels = read_images(images)
        batch = self.batch(pixels)
        if segmentation_maps is not None:
            batch["labels"] = np.stack([self.apply_map(m) for m in read_maps(segmentation_maps, pixels)])
        return batch

    def apply_map(self, labels):
        """Label map int32 [H, W] -> int64 [H', W'], moved as the image is."""
        labels = self.part(Labels)(labels)
        for step in self.steps:
            labels = step.on_map(labels)
        return labels.astype(np.int64)
