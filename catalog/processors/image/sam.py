"""Segment Anything: the longest edge to 1024, padded to a square. Kirillov et al., 2023 (arXiv:2304.02643)."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.batches import pad
from catalog.processors.image.boxes import as_numpy
from catalog.processors.image.inputs import read_images
from catalog.processors.image.processor import ImageProcessor, stack
from catalog.processors.image.segments import upsample
from catalog.processors.image.sizes import Exact, Longest, Size
from catalog.processors.image.steps import IMAGENET_MEAN, IMAGENET_STD, ConvertRGB, Normalize, Rescale, Resize, Step


@dataclass(frozen=True)
class PadTo(Step):
    """Bottom and right, with zeros, to ``pad_size``."""

    pad_size: Size
    do_pad: bool = True
    rules = (Exact,)

    def __call__(self, image):
        if not self.do_pad:
            return image
        if image.shape[0] > self.pad_size.height or image.shape[1] > self.pad_size.width:
            raise ProcessorError(f"image of {image.shape[:2]} pixels after resizing exceeds {self.pad_size}")
        return pad(image, self.pad_size.height, self.pad_size.width)


class SamImageProcessor(ImageProcessor):
    """pixel_values float32 [B, 3, H, W]; original_sizes and reshaped_input_sizes int64 [B, 2], to map masks back."""

    steps = (ConvertRGB(), Resize(Longest(1024)), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))
    parts = (PadTo(Exact(1024, 1024)),)

    def __call__(self, images):
        pixels = read_images(images)
        ready = [self.apply(image) for image in pixels]
        return {
            "pixel_values": stack([self.part(PadTo)(image) for image in ready]),
            "original_sizes": np.array([image.shape[:2] for image in pixels], np.int64),
            "reshaped_input_sizes": np.array([image.shape[:2] for image in ready], np.int64),
        }

    def post_process_masks(self, masks, original_sizes, reshaped_input_sizes, mask_threshold=0.0):
        """Mask logits [P, M, h, w] an image -> bool [P, M, H, W] in its own pixels.

        The two sizes are those that the call returned: the padding is cut off between two bilinear resizings.
        """
        frame, found = self.part(PadTo).pad_size, []
        for logits, original, reshaped in zip(masks, original_sizes, reshaped_input_sizes):
            logits = as_numpy(logits)
            flat = logits.reshape(-1, *logits.shape[-2:])
            large = upsample(flat, (frame.height, frame.width))[:, : int(reshaped[0]), : int(reshaped[1])]
            fitted = upsample(large, (int(original[0]), int(original[1])))
            found.append(fitted.reshape(*logits.shape[:-2], *fitted.shape[1:]) > mask_threshold)
        return found
