"""Images of several sizes -> one batch: padded at the bottom and the right, with a mask of the real pixels."""

from dataclasses import dataclass

import numpy as np

from catalog.processors.image.processor import ImageProcessor, stack


def pad(image, height, width, value=0.0):
    """[H, W, C] -> [height, width, C], the image in the top left corner."""
    grow = (0, height - image.shape[0]), (0, width - image.shape[1])
    return np.pad(image, (*grow, *[(0, 0)] * (image.ndim - 2)), constant_values=value)


def pad_to_largest(images):
    """Images [H, W, C] -> ([B, C, maxH, maxW], mask int64 [B, maxH, maxW] with 1 on real pixels)."""
    height, width = (max(sizes) for sizes in zip(*(image.shape[:2] for image in images)))
    values = np.zeros((len(images), images[0].shape[2], height, width), images[0].dtype)
    mask = np.zeros((len(images), height, width), np.int64)
    for i, image in enumerate(images):
        h, w = image.shape[:2]
        values[i, :, :h, :w] = image.transpose(2, 0, 1)
        mask[i, :h, :w] = 1
    return values, mask


@dataclass(frozen=True)
class PadBatch:
    """Published switch: pad the batch to its largest height and width."""

    do_pad: bool = True

    def __call__(self, images):
        """-> (pixel_values [B, C, H, W], pixel_mask int64 [B, H, W])."""
        if self.do_pad:
            return pad_to_largest(images)
        values = stack(images)
        return values, np.ones((len(images), *values.shape[2:]), np.int64)


class PaddedProcessor(ImageProcessor):
    """An image processor that returns a padded batch and its mask; ``parts`` holds ``PadBatch``."""

    def batch(self, images):
        """Images -> {"pixel_values": float32 [B, C, H, W], "pixel_mask": int64 [B, H, W], 1 on real pixels}."""
        values, mask = self.part(PadBatch)([self.apply(image) for image in images])
        return {"pixel_values": values, "pixel_mask": mask}
