"""Fuyu: images shrunk where they exceed the frame and padded with white-on-one; any grid of patches inside it."""

from dataclasses import dataclass

import numpy as np

from catalog.processors.image.batches import pad
from catalog.processors.image.inputs import read_images
from catalog.processors.image.processor import ImageProcessor, channels_first
from catalog.processors.image.sizes import Exact, Size
from catalog.processors.image.steps import BILINEAR, Normalize, Rescale, Step, resize


@dataclass(frozen=True)
class Shrink(Step):
    """Into ``size`` with the shape kept; an image that fits is left alone."""

    size: Size
    resample: int = BILINEAR
    do_resize: bool = True
    rules = (Exact,)

    def __call__(self, image):
        height, width = image.shape[:2]
        if not self.do_resize or (height <= self.size.height and width <= self.size.width):
            return image
        factor = min(self.size.height / height, self.size.width / width)
        return resize(image, int(height * factor), int(width * factor), self.resample)


@dataclass(frozen=True)
class PadFrame(Step):
    """Bottom and right to ``size``."""

    size: Size
    padding_value: float = 1.0
    padding_mode: str = "constant"
    do_pad: bool = True
    rules = (Exact,)

    def __call__(self, image):
        height, width = self.size.height, self.size.width
        if not self.do_pad:
            return image
        if self.padding_mode == "constant":
            return pad(image, height, width, self.padding_value)
        grow = (0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)
        return np.pad(image, grow, mode=self.padding_mode)


@dataclass(frozen=True)
class PatchSize(Step):
    """Published key: the size of a patch, for the joint processor that places image tokens in the text."""

    patch_size: Size
    rules = (Exact,)


class FuyuImageProcessor(ImageProcessor):
    """images: per sample a list of one float32 [3, H, W]; and its height, width and scale before padding."""

    steps = (Shrink(Exact(1080, 1920)), PadFrame(Exact(1080, 1920)), Rescale(), Normalize(0.5, 0.5))
    parts = (PatchSize(Exact(30, 30)),)

    def __call__(self, images):
        pixels = read_images(images)
        shrink = self.steps[0]
        sizes = [shrink(image).shape[:2] for image in pixels]
        return {
            "images": [[channels_first(self.apply(image))] for image in pixels],
            "image_unpadded_heights": [[h] for h, _ in sizes],
            "image_unpadded_widths": [[w] for _, w in sizes],
            "image_scale_factors": [[h / image.shape[0]] for (h, _), image in zip(sizes, pixels)],
        }
