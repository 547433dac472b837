"""OWLv2: a square padded in grey, resized in floating point, as its published pixels were. arXiv:2306.09683."""

from dataclasses import dataclass

import numpy as np

from catalog.processors.image.boxes import ObjectDetection, best_text
from catalog.processors.image.processor import ImageProcessor
from catalog.processors.image.sizes import Exact, Size
from catalog.processors.image.steps import BILINEAR, CLIP_MEAN, CLIP_STD, Normalize, Rescale, Step
from catalog.processors.linear import linear

GREY = 0.5


@dataclass(frozen=True)
class PadSquare(Step):
    """Bottom and right to a square, in grey; after rescaling to 0..1."""

    do_pad: bool = True

    def __call__(self, image):
        n = max(image.shape[:2])
        grow = (0, n - image.shape[0]), (0, n - image.shape[1]), (0, 0)
        return np.pad(image, grow, constant_values=GREY) if self.do_pad else image


@dataclass(frozen=True)
class ResizeSmooth(Step):
    """Gaussian blur where the image shrinks (sigma = (factor - 1) / 2), then linear interpolation; ends mirrored.

    ``resample`` is a published key without effect.
    """

    size: Size
    resample: int = BILINEAR
    do_resize: bool = True
    rules = (Exact,)

    def __call__(self, image):
        if not self.do_resize:
            return image
        height, width = self.size.height, self.size.width
        resized = _along(_along(image.astype(np.float32), height).swapaxes(0, 1), width).swapaxes(0, 1)
        return np.clip(resized, image.min(), image.max()).astype(np.float32)


def _along(x, size):
    """The first axis of [N, ...] resampled to ``size``."""
    sigma = (len(x) / size - 1) / 2
    reach = int(4 * sigma + 0.5)
    if reach > 0:
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        around = np.pad(x, ((reach, reach), *[(0, 0)] * (x.ndim - 1)), mode="reflect")
        x = np.lib.stride_tricks.sliding_window_view(around, len(taps), axis=0) @ (taps / taps.sum())
    return linear(x, size, mirrored=True)


class Owlv2ImageProcessor(ObjectDetection, ImageProcessor):
    """OWLv2: the classes are the texts that were asked for."""

    steps = (Rescale(), PadSquare(), ResizeSmooth(Exact(960, 960)), Normalize(CLIP_MEAN, CLIP_STD))
    pick = staticmethod(best_text)

    def post_process_object_detection(self, outputs, threshold=0.5, target_sizes=None):
        """As for all detectors; the fractions are of the square that the image was padded to."""
        squares = None if target_sizes is None else [(max(size), max(size)) for size in target_sizes]
        return super().post_process_object_detection(outputs, threshold, squares)
