"""Processors of scanned pages: Donut, Nougat (whole pages), LayoutLMv2 and v3 (pages with the boxes of their words)."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.batches import pad
from catalog.processors.image.pillow import Image
from catalog.processors.image.processor import ImageProcessor
from catalog.processors.image.sizes import Exact, Shortest, Size
from catalog.processors.image.steps import (
    BICUBIC,
    BILINEAR,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalize,
    Rescale,
    Resize,
    Step,
    resize,
)


@dataclass(frozen=True)
class FitPage(Step):
    """A page into ``size``: turned, its shorter edge resized to the frame's, shrunk until it fits, padded in black."""

    size: Size
    resample: int = BILINEAR
    do_align_long_axis: bool = False
    do_resize: bool = True
    do_thumbnail: bool = True
    do_pad: bool = True
    rules = (Exact,)

    def __call__(self, image):
        height, width = self.size.height, self.size.width
        if self.do_align_long_axis and (width - height) * (image.shape[1] - image.shape[0]) < 0:
            image = np.rot90(image, 3)
        if self.do_resize:
            image = resize(image, *Shortest(min(height, width)).fit(*image.shape[:2]), self.resample)
        if self.do_thumbnail:
            image = self._shrunk(image)
        return self._padded(image) if self.do_pad else image

    def _shrunk(self, image):
        """Within the frame, the shape kept (rounded down); as published, first by whole numbers, then resampled."""
        h, w = image.shape[:2]
        height, width = min(h, self.size.height), min(w, self.size.width)
        if (height, width) == (h, w):
            return image
        if h > w:
            width = int(w * height / h)
        elif w > h:
            height = int(h * width / w)
        page = Image.fromarray(np.ascontiguousarray(image))
        return np.asarray(page.resize((width, height), BICUBIC, reducing_gap=2.0))

    def _padded(self, image):
        """In the middle of the frame, the odd pixel at the bottom and the right."""
        h, w = image.shape[:2]
        top, left = (self.size.height - h) // 2, (self.size.width - w) // 2
        if top < 0 or left < 0:
            raise ProcessorError(f"page of {(h, w)} pixels exceeds the frame {self.size}; switch on do_thumbnail")
        image = pad(image[::-1, ::-1], top + h, left + w)[::-1, ::-1]
        return pad(image, self.size.height, self.size.width)


@dataclass(frozen=True)
class CropMargin(Step):
    """Cuts the light margin: rows and columns without any pixel below 200 of 255, the page's own range stretched."""

    do_crop_margin: bool = True

    def __call__(self, image):
        if not self.do_crop_margin:
            return image
        grey = np.asarray(Image.fromarray(image).convert("L")).astype(np.float32)
        low, high = grey.min(), grey.max()
        if low == high:
            return image
        dark = (grey - low) / (high - low) * 255 < 200
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class DonutImageProcessor(ImageProcessor):
    """Donut. Kim et al., 2021 (arXiv:2111.15664)."""

    steps = (FitPage(Exact(2560, 1920)), Rescale(), Normalize(HALF, HALF))

    @staticmethod
    def modern(config):
        """Old files have ``size`` as [width, height]."""
        if isinstance(config.get("size"), list):
            config["size"] = config["size"][::-1]
        return config


class NougatImageProcessor(ImageProcessor):
    """Nougat. Blecher et al., 2023 (arXiv:2308.13418)."""

    steps = (CropMargin(), FitPage(Exact(896, 672)), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))


@dataclass(frozen=True)
class Ocr:
    """Published keys of reading words off the page, which this catalog leaves to the caller."""

    apply_ocr: bool = True
    ocr_lang: str | None = None
    tesseract_config: str = ""


@dataclass(frozen=True)
class BGR(Step):
    """RGB -> BGR as uint8, for a detector trained on it."""

    def __call__(self, image):
        return image[..., ::-1]


class LayoutImageProcessor(ImageProcessor):
    """An image processor whose words and boxes the caller gives to the tokenizer; they are not read here."""

    parts = (Ocr(),)

    def __call__(self, images):
        if self.part(Ocr).apply_ocr:
            raise ProcessorError(
                "apply_ocr: no words are read off pages here; run your OCR, give words and boxes to the tokenizer, and "
                'load the processor with config={"apply_ocr": False}'
            )
        return super().__call__(images)


class LayoutLMv2ImageProcessor(LayoutImageProcessor):
    """LayoutLMv2, LayoutXLM: uint8 pixels in BGR order."""

    steps = (Resize(Exact(224, 224), BILINEAR), BGR())


class LayoutLMv3ImageProcessor(LayoutImageProcessor):
    """LayoutLMv3."""

    steps = (Resize(Exact(224, 224), BILINEAR), Rescale(), Normalize(HALF, HALF))
