"""Processors that are nothing but shared steps: resize, crop, rescale, normalise, with the defaults of each model."""

from dataclasses import dataclass

from catalog.processors.image.boxes import ObjectDetection, best_text
from catalog.processors.image.processor import ImageProcessor, Labels, SegmentationProcessor
from catalog.processors.image.segments import LabelMaps
from catalog.processors.image.sizes import Exact, Shortest
from catalog.processors.image.steps import (
    BICUBIC,
    BILINEAR,
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    ConvertRGB,
    FlipChannels,
    Normalize,
    Rescale,
    Resize,
    ResizeWithMap,
    Step,
    resize,
)


class ViTImageProcessor(ImageProcessor):
    """ViT, Swin, SwinV2, ViT-MAE, ViT-MSN, DINO, CLIPSeg, SwiftFormer."""

    steps = (Resize(Exact(224, 224), BILINEAR), Rescale(), Normalize(HALF, HALF))


class PvtImageProcessor(ImageProcessor):
    """PVT."""

    steps = (Resize(Exact(224, 224), BILINEAR), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))


class DeiTImageProcessor(ImageProcessor):
    """DeiT."""

    steps = (Resize(Exact(256, 256), BICUBIC), CenterCrop(Exact(224, 224)), Rescale(), Normalize(HALF, HALF))


class CLIPImageProcessor(ImageProcessor):
    """CLIP, GroupViT, AltCLIP, GIT, KOSMOS-2."""

    steps = (
        ConvertRGB(),
        Resize(Shortest(224), BICUBIC),
        CenterCrop(Exact(224, 224)),
        Rescale(),
        Normalize(CLIP_MEAN, CLIP_STD),
    )

    @staticmethod
    def modern(config):
        """``use_square_size`` (KOSMOS-2) reads a shortest edge as both edges."""
        size = config.get("size")
        if config.pop("use_square_size", False) and isinstance(size, dict) and "shortest_edge" in size:
            config["size"] = {"height": size["shortest_edge"], "width": size["shortest_edge"]}
        return config


class BitImageProcessor(ImageProcessor):
    """BiT, DINOv2, FocalNet."""

    steps = CLIPImageProcessor.steps


class ViTHybridImageProcessor(ImageProcessor):
    """ViT hybrid."""

    steps = CLIPImageProcessor.steps


class ChineseCLIPImageProcessor(ImageProcessor):
    """Chinese CLIP."""

    steps = CLIPImageProcessor.steps


class BlipImageProcessor(ImageProcessor):
    """BLIP, BLIP-2, InstructBLIP."""

    steps = (ConvertRGB(), Resize(Exact(384, 384), BICUBIC), Rescale(), Normalize(CLIP_MEAN, CLIP_STD))


class OwlViTImageProcessor(ObjectDetection, ImageProcessor):
    """OWL-ViT: the classes are the texts that were asked for."""

    pick = staticmethod(best_text)

    steps = (
        Resize(Exact(768, 768), BICUBIC),
        CenterCrop(Exact(768, 768), do_center_crop=False),
        Rescale(),
        Normalize(CLIP_MEAN, CLIP_STD),
    )


class MobileNetV1ImageProcessor(ImageProcessor):
    """MobileNet V1."""

    steps = (Resize(Shortest(256), BILINEAR), CenterCrop(Exact(224, 224)), Rescale(), Normalize(HALF, HALF))


class MobileNetV2ImageProcessor(LabelMaps, ImageProcessor):
    """MobileNet V2."""

    steps = MobileNetV1ImageProcessor.steps


class MobileViTImageProcessor(LabelMaps, ImageProcessor):
    """MobileViT, MobileViTV2: no normalisation, channels in BGR order."""

    steps = (Resize(Shortest(224), BILINEAR), CenterCrop(Exact(256, 256)), Rescale(), FlipChannels())


class EfficientFormerImageProcessor(ImageProcessor):
    """EfficientFormer."""

    steps = (
        Resize(Exact(224, 224), BICUBIC),
        CenterCrop(Exact(224, 224)),
        Rescale(),
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )


class BeitImageProcessor(LabelMaps, SegmentationProcessor):
    """BEiT, Data2Vec-vision."""

    steps = (ResizeWithMap(Exact(256, 256), BICUBIC), CenterCrop(Exact(224, 224)), Rescale(), Normalize(HALF, HALF))
    parts = (Labels(),)


class SegformerImageProcessor(LabelMaps, SegmentationProcessor):
    """SegFormer."""

    steps = (Resize(Exact(512, 512), BILINEAR), Rescale(), Normalize(IMAGENET_MEAN, IMAGENET_STD))
    parts = (Labels(),)


@dataclass(frozen=True)
class ResizeSquare(Step):
    """To a square of ``image_size``; always."""

    image_size: int = 224
    image_num_channels: int = 3

    def __call__(self, image):
        return resize(image, self.image_size, self.image_size, BICUBIC)


class IdeficsImageProcessor(ImageProcessor):
    """IDEFICS."""

    steps = (ResizeSquare(), Rescale(), Normalize(CLIP_MEAN, CLIP_STD))
