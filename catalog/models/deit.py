"""DeiT: ViT with a second token in front, which learns from a teacher.

Touvron et al., 2020, "Training data-efficient image transformers & distillation through attention" (arXiv:2012.12877).
"""

from dataclasses import dataclass

from catalog.heads import HeadSpec, MaskedImage, TeacherClassify
from catalog.models import vit
from catalog.namemap import NameMap


@dataclass(frozen=True, kw_only=True)
class DeitConfig(vit.VitConfig):
    """Sizes of DeiT-base."""


CONFIG = vit.CONFIG
NAMES = NameMap([*vit.RULES, ("embed.front.1.weight", "embeddings.distillation_token")], prefix="deit.")


class Deit(vit.Vit):
    """As :class:`catalog.models.vit.Vit`; the states begin with those of the class and of the distillation token."""

    config_class = DeitConfig
    front = 2


HEADS = {
    "image-classification": vit.HEADS["image-classification"],
    "image-classification-with-teacher": HeadSpec(
        TeacherClassify, NameMap([("{out,taught}.*", "{cls_classifier,distillation_classifier}.*")]),
        backbone={"pool": False},
    ),
    "masked-image-modeling": HeadSpec(
        # published so: the distillation token stands for the first patch, and the last patch is left out
        lambda b, c: MaskedImage(b, c, part=slice(1, -1)), NameMap([("out.*", "decoder.0.*")]),
        backbone={"pool": False, "masked": True},
    ),
}  # fmt: skip
