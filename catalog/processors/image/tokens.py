"""Images as sequences: ImageGPT (colour clusters), Pix2Struct (patches with their row and column)."""

from dataclasses import dataclass
from math import floor, sqrt

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.inputs import read_images
from catalog.processors.image.pillow import Image
from catalog.processors.image.processor import ImageProcessor
from catalog.processors.image.sizes import Exact, Size
from catalog.processors.image.steps import BILINEAR, ConvertRGB, Resize, Step


@dataclass(frozen=True)
class ToUnit(Step):
    """0..255 -> -1..1, as float32."""

    do_normalize: bool = True

    def __call__(self, image):
        return image.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1) if self.do_normalize else image


@dataclass(frozen=True)
class Clusters:
    """Colours [K, 3] in -1..1; each pixel becomes the index of the nearest."""

    clusters: tuple | None = None
    do_color_quantize: bool = True

    def __call__(self, images):
        """[B, 3, H, W] -> int64 [B, H * W]."""
        if self.clusters is None:
            raise ProcessorError("clusters: the colours are missing; they come with the published model's settings")
        pixels = images.transpose(0, 2, 3, 1).reshape(-1, 3)
        colours = np.asarray(self.clusters, np.float32)
        # |p - c|^2 without |p|^2, which is the same for all c; one [pixels, K] table instead of [pixels, K, 3]
        distance = (colours**2).sum(axis=1) - 2 * pixels @ colours.T
        return distance.argmin(axis=1).reshape(len(images), -1)


class ImageGPTImageProcessor(ImageProcessor):
    """ImageGPT: input_ids int64 [B, H * W], or pixel_values without quantisation. Chen et al., 2020."""

    steps = (Resize(Exact(256, 256), BILINEAR), ToUnit())
    parts = (Clusters(),)

    def __call__(self, images):
        batch = super().__call__(images)
        clusters = self.part(Clusters)
        return {"input_ids": clusters(batch["pixel_values"])} if clusters.do_color_quantize else batch


@dataclass(frozen=True)
class Standardise(Step):
    """Each image to mean 0 and deviation 1 over all its values."""

    do_normalize: bool = True

    def __call__(self, image):
        image = image.astype(np.float32)
        if not self.do_normalize:
            return image
        return (image - image.mean()) / max(image.std(), np.float32(1 / sqrt(image.size)))


@dataclass(frozen=True)
class Patches(Step):
    """As many patches as ``max_patches`` allows, on a grid that keeps the shape of the image."""

    patch_size: Size
    max_patches: int = 2048
    is_vqa: bool = False
    rules = (Exact,)

    def __call__(self, image):
        """[H, W, C] -> [max_patches, 2 + patch values]: row and column from 1, then the pixels; zeros at the end."""
        (height, width), (h, w) = image.shape[:2], (self.patch_size.height, self.patch_size.width)
        scale = sqrt(self.max_patches * (h / height) * (w / width))
        rows = max(min(floor(scale * height / h), self.max_patches), 1)
        columns = max(min(floor(scale * width / w), self.max_patches), 1)
        image = _resize_float(image, rows * h, columns * w)
        patches = image.reshape(rows, h, columns, w, -1).swapaxes(1, 2).reshape(rows * columns, -1)
        at = np.indices((rows, columns), np.float32).reshape(2, -1).T + 1
        result = np.zeros((self.max_patches, 2 + patches.shape[1]), np.float32)
        result[: len(patches)] = np.concatenate([at, patches], axis=1)
        return result


def _resize_float(image, height, width):
    """Bilinear with anti-aliasing, of floats."""
    channels = [Image.fromarray(image[..., c]).resize((width, height), BILINEAR) for c in range(image.shape[-1])]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


class Pix2StructImageProcessor(ImageProcessor):
    """Pix2Struct: flattened_patches float32 [B, patches, 2 + values], attention_mask float32 [B, patches].

    Questions rendered above the image (``is_vqa``) are not supported. Lee et al., 2022 (arXiv:2210.03347).
    """

    steps = (ConvertRGB(), Standardise())
    parts = (Patches(Exact(16, 16)),)

    def __call__(self, images):
        patches = self.part(Patches)
        if patches.is_vqa:
            raise ProcessorError(
                "is_vqa: text rendered above the image is not supported; render it before, set it false"
            )
        found = np.stack([patches(self.apply(image)) for image in read_images(images)])
        return {"flattened_patches": found, "attention_mask": (found[..., 0] > 0).astype(np.float32)}
