"""Pipelines of images give what doing it by hand gives, for paths, PIL images and arrays alike."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import catalog
from catalog.errors import ProcessorError
from catalog.processors.image.detr import DetrImageProcessor
from catalog.processors.image.plain import ViTImageProcessor
from catalog.processors.joint import Joint
from catalog.processors.text import build
from tests.support.golden import FOLDER, Golden

LABELS = ("cat", "dog", "fish")
SMALL = {"size": {"height": 8, "width": 8}}


def _pictures(count=3):
    return [np.random.default_rng(i).integers(0, 256, (9 + i, 12, 3), dtype=np.uint8) for i in range(count)]


def test_image_classification(folder, tmp_path):
    processor = ViTImageProcessor(SMALL)
    sizes = {"image": 8, "patch": 4, "width": 16, "depth": 1, "heads": 2, "hidden": 32, "labels": LABELS}
    path = folder("vit", "image-classification", processor, **sizes)
    do, images = catalog.pipeline("image-classification", path, batch_size=2), _pictures()
    found = do(images, top_k=2)
    with torch.no_grad():
        logits = catalog.load(path)(torch.tensor(processor(images)["pixel_values"])).logits
    for row, answer in zip(logits.softmax(-1), found, strict=True):
        best = row.topk(2)
        assert answer == [
            {"label": LABELS[i], "score": pytest.approx(s, abs=1e-5)}
            for i, s in zip(best.indices, best.values.tolist())
        ]
    Image.fromarray(images[0]).save(file := tmp_path / "a.png")
    for same in (str(file), file, Image.open(file), {"image": images[0]}):
        assert do(same, top_k=1)[0]["score"] == pytest.approx(found[0][0]["score"], abs=1e-6)
    (tmp_path / "b.png").write_bytes(b"no image")
    for wrong, message in ((str(tmp_path / "b.png"), r"b\.png: not a readable image"), ("absent.png", "no such image")):
        with pytest.raises(ProcessorError, match=message):
            do([images[0], wrong])


def test_object_detection(tmp_path):
    path = Golden(FOLDER / "detr/DetrForObjectDetection.json").write(tmp_path / "detr")
    processor = DetrImageProcessor({"size": {"shortest_edge": 32, "longest_edge": 64}})
    processor.save(path)
    (image,) = _pictures(1)
    found = catalog.pipeline("object-detection", path)(image, threshold=0.0)
    model = catalog.load(path)
    with torch.no_grad():
        out = model(**{k: torch.tensor(v) for k, v in processor(image).items()})
    shares, classes = out.logits[0].softmax(-1)[:, :-1].max(-1)
    order = shares.argsort(descending=True, stable=True)
    assert [item["score"] for item in found] == pytest.approx(shares[order].tolist(), abs=1e-5)
    assert [item["label"] for item in found] == [model.config.labels[i] for i in classes[order]]
    x, y, width, height = out.pred_boxes[0, order[0]].tolist()
    corners = [(x - width / 2) * 12, (y - height / 2) * 9, (x + width / 2) * 12, (y + height / 2) * 9]
    wanted = [int(min(max(n, 0), most)) for n, most in zip(corners, (12, 9, 12, 9))]
    assert found[0]["box"] == dict(zip(("xmin", "ymin", "xmax", "ymax"), wanted))
    assert catalog.pipeline("object-detection", path)(image, threshold=1.0) == []


def test_zero_shot_image_classification(tmp_path):
    case = json.loads((FOLDER / "tokenizers/CLIPTokenizerFast.json").read_text(encoding="utf-8"))
    files = {"vocab.json": json.dumps({token: i for i, token in enumerate(case["vocab"])}).encode(),
             "merges.txt": "\n".join(["#version: 0.2", *case["merges"], ""]).encode()}  # fmt: skip
    tokenizer = build("CLIPTokenizer", files)
    from catalog.models.clip import ClipTextConfig, ClipVisionConfig

    text = ClipTextConfig(vocab=len(tokenizer), width=16, depth=1, heads=2, hidden=32, eos_id=tokenizer.eos_id)
    vision = ClipVisionConfig(width=16, depth=1, heads=2, hidden=32, image=8, patch=4)
    model = catalog.build("clip", catalog.config("clip", text=text, vision=vision, projection=8), seed=0).eval()
    processor = Joint(tokenizer, ViTImageProcessor(SMALL))
    path = catalog.save(model, tmp_path, processor=processor)
    images, words = _pictures(2), ["cat", "dog"]
    found = catalog.pipeline("zero-shot-image-classification", path)(images, words, hypothesis_template="a {}")
    texts = tokenizer(["a cat", "a dog"], padding="longest")
    with torch.no_grad():
        pixels = torch.tensor(processor.features(images)["pixel_values"])
        wanted = model(torch.tensor(texts["input_ids"]), pixels).logits_per_image.softmax(-1)
    for row, answer in zip(wanted, found, strict=True):
        scores = {item["label"]: item["score"] for item in answer}
        assert scores == pytest.approx(dict(zip(words, row.tolist())), abs=1e-5)
