"""Processors whose resize and crop are tied by a ratio: ConvNeXT (and ResNet), PoolFormer, LeViT, Perceiver."""

from dataclasses import dataclass

from catalog.processors.image.processor import ImageProcessor
from catalog.processors.image.sizes import Exact, Shortest, Size
from catalog.processors.image.steps import (
    BICUBIC,
    BILINEAR,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Normalize,
    Rescale,
    Resize,
    Step,
    centre_crop,
    resize,
)


@dataclass(frozen=True)
class ResizeAndCrop(Step):
    """Below 384 pixels: the shorter edge to n / crop_pct, then the middle n x n. From 384 on: warped to n x n."""

    size: Size
    crop_pct: float = 224 / 256
    resample: int = BILINEAR
    do_resize: bool = True
    rules = (Shortest,)

    def __call__(self, image):
        n = self.size.shortest_edge
        if not self.do_resize:
            return image
        if n >= 384:
            return resize(image, n, n, self.resample)
        return centre_crop(resize(image, *Shortest(int(n / self.crop_pct)).fit(*image.shape[:2]), self.resample), n, n)


@dataclass(frozen=True)
class ResizeLarger(Step):
    """To ``size`` / ``crop_pct``: the shorter edge, so that a later crop takes the middle ``crop_pct``."""

    size: Size
    crop_pct: float = 0.9
    resample: int = BICUBIC
    do_resize: bool = True
    rules = (Exact, Shortest)

    def __call__(self, image):
        if not self.do_resize:
            return image
        if isinstance(self.size, Exact) and self.size.height != self.size.width:
            target = int(self.size.height / self.crop_pct), int(self.size.width / self.crop_pct)
        else:
            edge = self.size.height if isinstance(self.size, Exact) else self.size.shortest_edge
            target = Shortest(int(edge / self.crop_pct)).fit(*image.shape[:2])
        return resize(image, *target, self.resample)


@dataclass(frozen=True)
class ResizeLevit(Step):
    """The shorter edge to 256/224 of ``shortest_edge``; a height and a width are taken as they are."""

    size: Size
    resample: int = BICUBIC
    do_resize: bool = True

    def __call__(self, image):
        if not self.do_resize:
            return image
        rule = Shortest(int(256 / 224 * self.size.shortest_edge)) if isinstance(self.size, Shortest) else self.size
        return resize(image, *rule.fit(*image.shape[:2]), self.resample)


@dataclass(frozen=True)
class CropBeforeResize(Step):
    """The middle square of size/crop_size of the shorter edge; comes before the resize to ``size``."""

    crop_size: Size
    size: Size
    do_center_crop: bool = True
    rules = (Exact,)

    def __call__(self, image):
        if not self.do_center_crop:
            return image
        short = min(image.shape[:2])
        height = int(self.size.height / self.crop_size.height * short)
        width = int(self.size.width / self.crop_size.width * short)
        return centre_crop(image, height, width)


class ConvNextImageProcessor(ImageProcessor):
    """ConvNeXT, ConvNeXTV2, ResNet, RegNet, VAN, CvT."""

    steps = (ResizeAndCrop(Shortest(384)), Rescale(), Normalize(HALF, HALF))


class PoolFormerImageProcessor(ImageProcessor):
    """PoolFormer."""

    steps = (
        ResizeLarger(Shortest(224)),
        CenterCrop(Exact(224, 224)),
        Rescale(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )


class LevitImageProcessor(ImageProcessor):
    """LeViT."""

    steps = (
        ResizeLevit(Shortest(224)),
        CenterCrop(Exact(224, 224)),
        Rescale(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )


class PerceiverImageProcessor(ImageProcessor):
    """Perceiver IO on images."""

    steps = (
        CropBeforeResize(Exact(256, 256), Exact(224, 224)),
        Resize(Exact(224, 224), BICUBIC),
        Rescale(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )
