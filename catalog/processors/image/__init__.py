"""Image processors, by published class name. Strings only; a module is imported when its processor is used."""

MODULES = {
    "plain": (
        "BeitImageProcessor", "BitImageProcessor", "BlipImageProcessor", "CLIPImageProcessor",
        "ChineseCLIPImageProcessor", "DeiTImageProcessor", "EfficientFormerImageProcessor",
        "MobileNetV1ImageProcessor", "MobileNetV2ImageProcessor", "MobileViTImageProcessor", "OwlViTImageProcessor",
        "PvtImageProcessor", "SegformerImageProcessor", "ViTHybridImageProcessor", "ViTImageProcessor",
    ),
    "ratio": (
        "ConvNextImageProcessor", "LevitImageProcessor", "PerceiverImageProcessor", "PoolFormerImageProcessor",
    ),
    "detr": (
        "ConditionalDetrImageProcessor", "DeformableDetrImageProcessor", "DetrImageProcessor", "YolosImageProcessor",
    ),
}  # fmt: skip

REGISTRY = {name: f"{__name__}.{module}:{name}" for module, names in MODULES.items() for name in names}
