"""FLAVA: pixels for the model, and pixels for the codebook that its image tokens come from. arXiv:2112.04482."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.inputs import read_images
from catalog.processors.image.processor import ImageProcessor, stack
from catalog.processors.image.sizes import Exact, Size
from catalog.processors.image.steps import (
    BICUBIC,
    CLIP_MEAN,
    CLIP_STD,
    LANCZOS,
    CenterCrop,
    Normalize,
    Rescale,
    Resize,
    Step,
)

EPSILON = np.float32(0.1)  # the codebook saw values in 0.1..0.9


@dataclass(frozen=True)
class Codebook(Step):
    """Published keys of the second set of pixels."""

    codebook_size: Size
    codebook_crop_size: Size
    return_codebook_pixels: bool = False
    codebook_do_resize: bool = True
    codebook_resample: int = LANCZOS
    codebook_do_center_crop: bool = True
    codebook_do_rescale: bool = True
    codebook_rescale_factor: float = 1 / 255
    codebook_do_map_pixels: bool = True
    codebook_do_normalize: bool = True
    codebook_image_mean: tuple = (0.0, 0.0, 0.0)
    codebook_image_std: tuple = (1.0, 1.0, 1.0)

    def __call__(self, image):
        image = Resize(self.codebook_size, self.codebook_resample, self.codebook_do_resize)(image)
        image = CenterCrop(self.codebook_crop_size, self.codebook_do_center_crop)(image)
        image = Rescale(self.codebook_rescale_factor, self.codebook_do_rescale)(image)
        image = Normalize(self.codebook_image_mean, self.codebook_image_std, self.codebook_do_normalize)(image)
        return (1 - 2 * EPSILON) * image + EPSILON if self.codebook_do_map_pixels else image


@dataclass(frozen=True)
class PatchMask:
    """Published keys of the random mask over patches, which is for the training loop to draw."""

    return_image_mask: bool = False
    input_size_patches: int = 14
    total_mask_patches: int = 75
    mask_group_min_patches: int = 16
    mask_group_max_patches: int | None = None
    mask_group_min_aspect_ratio: float = 0.3
    mask_group_max_aspect_ratio: float | None = None


class FlavaImageProcessor(ImageProcessor):
    """FLAVA."""

    steps = (
        Resize(Exact(224, 224), BICUBIC),
        CenterCrop(Exact(224, 224)),
        Rescale(),
        Normalize(CLIP_MEAN, CLIP_STD),
    )
    parts = (Codebook(Exact(112, 112), Exact(112, 112)), PatchMask())

    def __call__(self, images, return_codebook_pixels=None):
        """Images -> {"pixel_values"} and, where asked for, "codebook_pixel_values" float32 [B, 3, 112, 112]."""
        if self.part(PatchMask).return_image_mask:
            raise ProcessorError("return_image_mask: masks are drawn by the training recipe; set it false")
        codebook, pixels = self.part(Codebook), read_images(images)
        batch = {"pixel_values": stack([self.apply(image) for image in pixels])}
        wanted = codebook.return_codebook_pixels if return_codebook_pixels is None else return_codebook_pixels
        return batch | {"codebook_pixel_values": stack([codebook(image) for image in pixels])} if wanted else batch
