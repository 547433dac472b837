"""Image processors, by published class name. Strings only; a module is imported when its processor is used."""

MODULES = {
    "plain": (
        "BeitImageProcessor", "BitImageProcessor", "BlipImageProcessor", "CLIPImageProcessor",
        "ChineseCLIPImageProcessor", "DeiTImageProcessor", "EfficientFormerImageProcessor", "IdeficsImageProcessor",
        "MobileNetV1ImageProcessor", "MobileNetV2ImageProcessor", "MobileViTImageProcessor", "OwlViTImageProcessor",
        "PvtImageProcessor", "SegformerImageProcessor", "ViTHybridImageProcessor", "ViTImageProcessor",
    ),
    "ratio": (
        "ConvNextImageProcessor", "LevitImageProcessor", "PerceiverImageProcessor", "PoolFormerImageProcessor",
    ),
    "detr": (
        "ConditionalDetrImageProcessor", "DeformableDetrImageProcessor", "DetaImageProcessor", "DetrImageProcessor",
        "YolosImageProcessor",
    ),
    "multiples": (
        "BridgeTowerImageProcessor", "DPTImageProcessor", "GLPNImageProcessor", "Swin2SRImageProcessor",
        "ViltImageProcessor", "VitMatteImageProcessor",
    ),
    "documents": (
        "DonutImageProcessor", "LayoutLMv2ImageProcessor", "LayoutLMv3ImageProcessor", "NougatImageProcessor",
    ),
    "video": ("TvltImageProcessor", "VideoMAEImageProcessor", "VivitImageProcessor"),
    "masks": ("Mask2FormerImageProcessor", "MaskFormerImageProcessor", "OneFormerImageProcessor"),
    "tokens": ("ImageGPTImageProcessor", "Pix2StructImageProcessor"),
    "efficientnet": ("EfficientNetImageProcessor",),
    "flava": ("FlavaImageProcessor",),
    "fuyu": ("FuyuImageProcessor",),
    "owlv2": ("Owlv2ImageProcessor",),
    "sam": ("SamImageProcessor",),
}  # fmt: skip

REGISTRY = {name: f"{__name__}.{module}:{name}" for module, names in MODULES.items() for name in names}
REGISTRY |= {name.replace("ImageProcessor", "FeatureExtractor"): home for name, home in REGISTRY.items()}  # old names
