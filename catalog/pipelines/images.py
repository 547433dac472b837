"""Pipelines of images: image-classification, object-detection, zero-shot-image-classification."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from catalog.errors import ConfigError
from catalog.pipelines.base import Pipeline, Row, ranked, softmax
from catalog.pipelines.classify import label_scores, named_labels
from catalog.processors.image.inputs import read_image
from catalog.processors.image.processor import ImageProcessor


class ImagePipeline(Pipeline):
    """A pipeline whose inputs are images: paths, PIL images, arrays [H, W, 3] or [3, H, W], or ``{"image": one of these}``."""

    @property
    def features(self) -> ImageProcessor:
        """The image processor of the folder, also where it stands beside a tokenizer."""
        return self.processor if isinstance(self.processor, ImageProcessor) else self.processor.features

    def size(self, row: Row) -> int:
        """Pixels."""
        return row["pixels"].shape[0] * row["pixels"].shape[1]

    def rows(self, given: Any, where: str) -> list[Row]:
        """One row, the image as uint8 [H, W, 3]."""
        given = given["image"] if hasattr(given, "keys") and "image" in given else given
        return [{"pixels": read_image(given, where)}]

    def run(self, rows: list[Row]) -> list[dict[str, np.ndarray]]:
        """The outputs of each image."""
        out = self.forward(self.features([row["pixels"] for row in rows]))
        whole = {name: value for name, value in out.items() if value.ndim and len(value) == len(rows)}
        return [{name: value[i] for name, value in whole.items()} for i in range(len(rows))]


class ImageClassification(ImagePipeline):
    """An image -> the ``top_k`` best as ``{"label", "score"}``."""

    def __call__(self, inputs: Any, *, top_k: int | None = 5) -> Any:
        return self.each(inputs, self.rows, self.run, partial(self._answer, top_k))

    def _answer(self, top_k, rows, outputs):
        return ranked(self.config.labels, label_scores(outputs[0]["logits"], self.config), top_k)


class ObjectDetection(ImagePipeline):
    """An image -> ``{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}`` a found object, best first, in its pixels."""

    def __call__(self, inputs: Any, *, threshold: float = 0.5) -> Any:
        return self.each(inputs, self.rows, self.run, partial(self._answer, threshold))

    def _answer(self, threshold, rows, outputs):
        height, width = rows[0]["pixels"].shape[:2]
        named = SimpleNamespace(**{name: outputs[0][name][None] for name in ("logits", "pred_boxes")})
        (found,) = self.features.post_process_object_detection(named, threshold, [(height, width)])
        order = np.argsort(-found["scores"], kind="stable")
        return [
            {
                "score": float(found["scores"][i]),
                "label": self.config.labels[found["labels"][i]],
                "box": _box(found["boxes"][i], height, width),
            }
            for i in order
        ]


def _box(corners, height, width):
    """Whole pixels, inside the image: a model may see a little more of an object than the picture shows."""
    inside = np.clip(corners, 0, [width, height, width, height])
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), (int(n) for n in inside)))


class ZeroShotImageClassification(ImagePipeline):
    """An image and labels that the model has not seen -> ``{"label", "score"}`` of each, best first.

    Each label stands in ``hypothesis_template``. Radford et al., 2021 (arXiv:2103.00020).
    """

    def __call__(
        self, inputs: Any, candidate_labels: list[str] | str, *, hypothesis_template: str = "This is a photo of {}."
    ) -> Any:
        labels = named_labels(candidate_labels)
        if "{}" not in hypothesis_template:
            raise ConfigError(f"hypothesis_template={hypothesis_template!r}: it needs {{}} where the label stands")
        claims = [hypothesis_template.replace("{}", label) for label in labels]
        room = self.config.text.positions
        texts = self.processor.tokenizer(claims, padding="longest", max_length=room)
        texts = {name: np.array(texts[name]) for name in ("input_ids", "attention_mask")}

        def run(rows):
            images = self.features([row["pixels"] for row in rows])
            return list(self.forward({**texts, **images})["logits_per_image"])

        return self.each(inputs, self.rows, run, lambda rows, out: ranked(labels, softmax(out[0]), None))
