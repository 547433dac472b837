"""Processors whose sizes are multiples of a number: DPT, GLPN, ViLT, BridgeTower, Swin2SR, ViTMatte."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.batches import PadBatch, PaddedProcessor, pad
from catalog.processors.image.inputs import read_images, read_maps
from catalog.processors.image.processor import ImageProcessor, channels_first
from catalog.processors.image.segments import LabelMaps
from catalog.processors.image.sizes import Exact, Shortest, Size
from catalog.processors.image.steps import (
    BICUBIC,
    BILINEAR,
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    Normalize,
    Rescale,
    Step,
    centre_crop,
    resize,
)


@dataclass(frozen=True)
class ResizeDown(Step):
    """Both edges to the next lower multiple of ``size_divisor``."""

    size_divisor: int = 32
    resample: int = BILINEAR
    do_resize: bool = True

    def __call__(self, image):
        if not self.do_resize:
            return image
        height, width = (n // self.size_divisor * self.size_divisor for n in image.shape[:2])
        if not height or not width:
            raise ProcessorError(f"image of {image.shape[:2]} pixels: both edges must reach {self.size_divisor}")
        return resize(image, height, width, self.resample)


@dataclass(frozen=True)
class ResizeNear(Step):
    """To ``size``, or by the scale of the edge that changes less when the shape is kept; then to near multiples."""

    size: Size
    keep_aspect_ratio: bool = False
    ensure_multiple_of: int = 1
    resample: int = BILINEAR
    do_resize: bool = True

    def __call__(self, image):
        if not self.do_resize:
            return image
        edges = image.shape[:2]
        scales = [new / old for new, old in zip(self.size.fit(*edges), edges)]
        if self.keep_aspect_ratio:
            scales = [min(scales, key=lambda scale: abs(1 - scale))] * 2
        height, width = (self._multiple(scale * n) for scale, n in zip(scales, edges))
        return resize(image, height, width, self.resample)

    def _multiple(self, n):
        return max(1, round(n / self.ensure_multiple_of)) * self.ensure_multiple_of


@dataclass(frozen=True)
class ResizeWithin(Step):
    """The shorter edge to ``shortest_edge``, the longer within 1333/800 of it, both down to ``size_divisor``."""

    size: Size
    size_divisor: int = 32
    resample: int = BICUBIC
    do_resize: bool = True
    rules = (Shortest,)

    def __call__(self, image):
        if not self.do_resize:
            return image
        edges, shortest = image.shape[:2], self.size.shortest_edge
        scale = shortest / min(edges)
        scale = min(scale, int(1333 / 800 * shortest) / max(edges))
        height, width = (int(n * scale + 0.5) // self.size_divisor * self.size_divisor for n in edges)
        return resize(image, height, width, self.resample)


@dataclass(frozen=True)
class CropToSize(Step):
    """The middle square of the resize's ``shortest_edge``."""

    size: Size
    do_center_crop: bool = True
    rules = (Shortest,)

    def __call__(self, image):
        n = self.size.shortest_edge
        return centre_crop(image, n, n) if self.do_center_crop else image


class DPTImageProcessor(LabelMaps, ImageProcessor):
    """DPT."""

    steps = (ResizeNear(Exact(384, 384)), Rescale(), Normalize(HALF, HALF))


class ViltImageProcessor(PaddedProcessor):
    """ViLT."""

    steps = (ResizeWithin(Shortest(384)), Rescale(), Normalize(HALF, HALF))
    parts = (PadBatch(),)


class BridgeTowerImageProcessor(PaddedProcessor):
    """BridgeTower."""

    steps = (ResizeWithin(Shortest(288)), CropToSize(Shortest(288)), Rescale(), Normalize(CLIP_MEAN, CLIP_STD))
    parts = (PadBatch(),)


class ListProcessor(ImageProcessor):
    """An image processor whose images keep sizes of their own."""

    def batch(self, images):
        """Images -> {"pixel_values": a list of float32 [C, H, W]}."""
        return {"pixel_values": [channels_first(self.apply(image)) for image in images]}


class GLPNImageProcessor(ListProcessor):
    """GLPN: values in 0..1."""

    steps = (ResizeDown(), Rescale())


@dataclass(frozen=True)
class PadMirrored(Step):
    """Bottom and right to the next higher multiple of ``pad_size`` (a whole one more where it fits), mirrored."""

    pad_size: int = 8
    do_pad: bool = True

    def __call__(self, image):
        if not self.do_pad:
            return image
        grow = [(0, (n // self.pad_size + 1) * self.pad_size - n) for n in image.shape[:2]]
        return np.pad(image, (*grow, (0, 0)), mode="symmetric")


class Swin2SRImageProcessor(ListProcessor):
    """Swin2SR: values in 0..1."""

    steps = (Rescale(), PadMirrored())


@dataclass(frozen=True)
class PadUp:
    """Published keys: bottom and right to the next higher multiple, with zeros."""

    size_divisibility: int = 32
    do_pad: bool = True

    def __call__(self, image):
        if not self.do_pad:
            return image
        n = self.size_divisibility
        return pad(image, *(size - size % n + n for size in image.shape[:2]))  # as published: one more where it fits


class VitMatteImageProcessor(ImageProcessor):
    """ViTMatte: the trimap (0 background, 255 foreground) becomes a fourth channel, rescaled but not normalised."""

    steps = (Rescale(), Normalize(HALF, HALF))
    parts = (PadUp(),)

    def __call__(self, images, trimaps):
        """Images and one trimap each, [H, W] of the same size -> {"pixel_values": a list of float32 [4, H', W']}."""
        pixels = read_images(images)
        maps = [m.astype(np.uint8)[..., None] for m in read_maps(trimaps, pixels, "trimaps")]
        rescale, fit = self.steps[0], self.part(PadUp)
        joined = [np.concatenate([self.apply(p), rescale(m)], axis=-1) for p, m in zip(pixels, maps)]
        return {"pixel_values": [channels_first(fit(image)) for image in joined]}
