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

MODELS = {  # model_type -> the class that its first files, written before they named one, were written by
    "beit": "BeitImageProcessor", "bit": "BitImageProcessor", "clip": "CLIPImageProcessor",
    "clipseg": "ViTImageProcessor", "convnext": "ConvNextImageProcessor", "cvt": "ConvNextImageProcessor",
    "data2vec-vision": "BeitImageProcessor", "deformable_detr": "DeformableDetrImageProcessor",
    "deit": "DeiTImageProcessor", "detr": "DetrImageProcessor", "donut-swin": "DonutImageProcessor",
    "dpt": "DPTImageProcessor", "flava": "FlavaImageProcessor", "glpn": "GLPNImageProcessor",
    "groupvit": "CLIPImageProcessor", "imagegpt": "ImageGPTImageProcessor", "layoutlmv2": "LayoutLMv2ImageProcessor",
    "layoutlmv3": "LayoutLMv3ImageProcessor", "levit": "LevitImageProcessor", "maskformer": "MaskFormerImageProcessor",
    "mobilenet_v1": "MobileNetV1ImageProcessor", "mobilenet_v2": "MobileNetV2ImageProcessor",
    "mobilevit": "MobileViTImageProcessor", "owlvit": "OwlViTImageProcessor", "perceiver": "PerceiverImageProcessor",
    "poolformer": "PoolFormerImageProcessor", "regnet": "ConvNextImageProcessor", "resnet": "ConvNextImageProcessor",
    "segformer": "SegformerImageProcessor", "swin": "ViTImageProcessor", "swinv2": "ViTImageProcessor",
    "van": "ConvNextImageProcessor", "videomae": "VideoMAEImageProcessor", "vilt": "ViltImageProcessor",
    "vit": "ViTImageProcessor", "vit_mae": "ViTImageProcessor", "vit_msn": "ViTImageProcessor",
    "yolos": "YolosImageProcessor",
}  # fmt: skip
