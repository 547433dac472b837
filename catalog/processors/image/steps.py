"""Steps of image processors. A step takes one image [H, W, C] and gives one; its fields are published keys.

Steps before ``Rescale`` work on uint8, as Pillow does; ``Rescale`` makes float32. A geometric step also moves a label
map (``on_map``), without mixing labels.
"""

from dataclasses import dataclass, fields

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.pillow import Image
from catalog.processors.image.sizes import Exact, Size

NEAREST, LANCZOS, BILINEAR, BICUBIC = 0, 1, 2, 3  # Pillow's numbers, which published files hold

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def resize(image, height, width, resample):
    """Pillow's resampling of uint8 [H, W, 3] or of a label map int32 [H, W]."""
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        return image
    page = Image.fromarray(np.ascontiguousarray(image))
    if h > height and h - height > 2 * (w - width):
        # Each pass rounds to 8 bits, so their order shows. This is the rule of Pillow 13; before, rows always came first.
        page = page.resize((w, height), resample)
    return np.asarray(page.resize((width, height), resample))


def centre_crop(image, height, width):
    """The middle [height, width]; an image that is smaller gets zeros around it, the odd one at the start as published."""
    h, w = image.shape[:2]
    top, left = (h - height) // 2, (w - width) // 2
    if h >= height and w >= width:
        return image[top : top + height, left : left + width]
    full_h, full_w = max(height, h), max(width, w)
    before = -((h - full_h) // 2), -((w - full_w) // 2)
    canvas = np.zeros((full_h, full_w, *image.shape[2:]), image.dtype)
    canvas[before[0] : before[0] + h, before[1] : before[1] + w] = image
    top, left = top + before[0], left + before[1]
    return canvas[top : top + height, left : left + width]


class Step:
    """One step. ``rules`` are the kinds of size that its size fields may be; a label map it leaves alone by default."""

    rules = (Size,)

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, Size) and not isinstance(value, self.rules):
                wanted = " or ".join(" and ".join(f.name for f in fields(rule)) for rule in self.rules)
                raise ProcessorError(f"{name}: expected {wanted}, found {value}")
            if name.endswith("resample") and value not in tuple(Image.Resampling):
                raise ProcessorError(f"{name}: expected a number of Pillow's filters, 0 to 5, found {value}")

    def on_map(self, labels):
        return labels


@dataclass(frozen=True)
class ConvertRGB(Step):
    """Keeps a published key; nothing is left to do, since every input is made RGB when it is read."""

    do_convert_rgb: bool = True

    def __call__(self, image):
        return image


@dataclass(frozen=True)
class Resize(Step):
    """To the size that the rule ``size`` gives for this image."""

    size: Size
    resample: int = BILINEAR
    do_resize: bool = True

    def __call__(self, image):
        return resize(image, *self.size.fit(*image.shape[:2]), self.resample) if self.do_resize else image

    def on_map(self, labels):
        return resize(labels, *self.size.fit(*labels.shape), NEAREST) if self.do_resize else labels


@dataclass(frozen=True)
class ResizeWithMap(Resize):
    """As ``Resize``, but a label map is resampled like the image: edges get labels in between. BEiT was published so."""

    def on_map(self, labels):
        if labels.max() > 255 or labels.min() < 0:
            raise ProcessorError(f"segmentation map: labels {labels.min()} to {labels.max()}; 0 to 255 can be resized")
        return self(labels.astype(np.uint8))


@dataclass(frozen=True)
class CenterCrop(Step):
    """The middle ``crop_size``, always a height and a width."""

    crop_size: Size
    do_center_crop: bool = True
    rules = (Exact,)

    def __call__(self, image):
        return centre_crop(image, *self.crop_size.fit(*image.shape[:2])) if self.do_center_crop else image

    on_map = __call__


@dataclass(frozen=True)
class Rescale(Step):
    """0..255 -> 0..1, as float32."""

    rescale_factor: float = 1 / 255
    do_rescale: bool = True

    def __call__(self, image):
        if not self.do_rescale:
            return image
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
        planes *= np.float32(self.rescale_factor)
        return planes.transpose(1, 2, 0)  # a view: with a plane per channel in memory, later arithmetic is 6x faster


@dataclass(frozen=True)
class Normalize(Step):
    """(image - mean) / std, per channel or one number for all, as float32."""

    image_mean: tuple | float = HALF
    image_std: tuple | float = HALF
    do_normalize: bool = True

    def __call__(self, image):
        if not self.do_normalize:
            return image
        image = image.astype(np.float32, copy=False) - np.float32(self.image_mean)
        image /= np.float32(self.image_std)
        return image


@dataclass(frozen=True)
class FlipChannels(Step):
    """RGB -> BGR, for networks trained on BGR."""

    do_flip_channel_order: bool = True

    def __call__(self, image):
        return image[..., ::-1] if self.do_flip_channel_order else image
