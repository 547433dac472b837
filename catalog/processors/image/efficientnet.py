"""EfficientNet: nearest pixels, and for classification a second division by the deviation. arXiv:1905.11946."""

from dataclasses import dataclass

import numpy as np

from catalog.processors.image.processor import ImageProcessor
from catalog.processors.image.sizes import Exact
from catalog.processors.image.steps import HALF, NEAREST, CenterCrop, Normalize, Rescale, Resize, Step


@dataclass(frozen=True)
class RescaleOffset(Step):
    """0..255 times ``rescale_factor``, minus 1 where ``rescale_offset`` is set."""

    rescale_factor: float = 1 / 255
    rescale_offset: bool = False
    do_rescale: bool = True

    def __call__(self, image):
        if not self.do_rescale:
            return image
        return Rescale(self.rescale_factor)(image) - np.float32(self.rescale_offset)


@dataclass(frozen=True)
class DivideAgain(Step):
    """Divided once more by the deviation, as the published classifiers were trained."""

    image_std: tuple = HALF
    include_top: bool = True

    def __call__(self, image):
        return image / np.float32(self.image_std) if self.include_top else image


class EfficientNetImageProcessor(ImageProcessor):
    """EfficientNet."""

    steps = (
        Resize(Exact(346, 346), NEAREST),
        CenterCrop(Exact(289, 289), do_center_crop=False),
        RescaleOffset(),
        Normalize(HALF, HALF),
        DivideAgain(),
    )
