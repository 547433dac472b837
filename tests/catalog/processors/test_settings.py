"""Published preprocessor files, as found on the hub and as they should not be."""

import json
import subprocess
import sys

import pytest

from catalog.errors import ProcessorError
from catalog.processors import audio, find, image, settings
from catalog.processors.audio.wav2vec2 import Wav2Vec2FeatureExtractor
from catalog.processors.audio.whisper import WhisperFeatureExtractor
from catalog.processors.image.detr import DetrImageProcessor
from catalog.processors.image.documents import DonutImageProcessor, LayoutLMv3ImageProcessor
from catalog.processors.image.plain import CLIPImageProcessor, ViTImageProcessor
from catalog.processors.image.ratio import ConvNextImageProcessor

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
NULLS = ("crop_size", "do_center_crop", "do_convert_rgb", "input_data_format", "return_tensors", "device", "pad_size")

PUBLISHED = {  # what was written by several versions -> what it means
    "vit, first": (
        ViTImageProcessor,
        {"do_normalize": True, "do_resize": True, "size": 224, **HALF},
        {"size": {"height": 224, "width": 224}, "do_rescale": True},
    ),
    "vit, newest": (
        ViTImageProcessor,
        {"image_processor_type": "ViTImageProcessorFast", "size": {"height": 9, "width": 9}, "data_format":
         "channels_first", "default_to_square": True, "rescale_factor": 1 / 255, "dither": 0.0, **dict.fromkeys(NULLS)},
        {"size": {"height": 9, "width": 9}},
    ),
    "clip, first": (
        CLIPImageProcessor,
        {"feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 224, "size": 224, "resample": 3},
        {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}},
    ),
    "kosmos-2": (
        CLIPImageProcessor,
        {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "use_square_size": True},
        {"size": {"height": 224, "width": 224}},
    ),
    "resnet": (
        ConvNextImageProcessor,
        {"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "resample": 3, "size": 224},
        {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
    ),
    "detr": (
        DetrImageProcessor,
        {"feature_extractor_type": "DetrFeatureExtractor", "format": "coco_detection", "max_size": 1000, "size": 800},
        {"size": {"shortest_edge": 800, "longest_edge": 1000}, "do_pad": True},
    ),
    "donut": (
        DonutImageProcessor,
        {"feature_extractor_type": "DonutFeatureExtractor", "size": [1920, 2560], "do_align_long_axis": False},
        {"size": {"height": 2560, "width": 1920}},
    ),
    "wav2vec2": (
        Wav2Vec2FeatureExtractor,
        {"feature_size": 1, "processor_class": "Wav2Vec2Processor", "padding_value": 0, "return_attention_mask": True},
        {"return_attention_mask": True, "processor_class": "Wav2Vec2Processor", "sampling_rate": 16000},
    ),
    "whisper": (
        WhisperFeatureExtractor,
        {"feature_extractor_type": "WhisperFeatureExtractor", "mel_filters": [[0.0]], "chunk_length": 15},
        {"chunk_length": 15, "n_samples": 240000, "nb_max_frames": 1500},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(name, tmp_path):
    kind, stored, meaning = PUBLISHED[name]
    (tmp_path / settings.FILE).write_text(json.dumps(stored))
    processor = kind.load(tmp_path)
    assert {key: processor.config[key] for key in meaning} == meaning
    processor.save(tmp_path / "again")
    assert kind.load(tmp_path / "again") == processor == kind.load(tmp_path / "again" / settings.FILE)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"sise": 224}, r"unknown key 'sise'; did you mean 'size'\?.*to load without it: config="),
        ({"do_flip_channel_order": True}, "unknown key 'do_flip_channel_order'"),
        ({"image_mean": "half"}, r"image_mean: expected something like \(0.5, 0.5, 0.5\), found 'half'"),
        ({"do_resize": 1}, "do_resize: expected something like True, found 1"),
        ({"resample": 2.5}, "resample: expected something like 2, found 2.5"),
        ({"rescale_factor": True}, "rescale_factor: expected something like 0.0039"),
        ({"size": {"height": 3}}, "size: expected keys height and width"),
        ({"image_processor_type": "CLIPImageProcessor"}, "written for CLIPImageProcessor, not ViTImageProcessor"),
    ],
)
def test_wrong_files_name_file_and_key(stored, words, tmp_path):
    path = tmp_path / settings.FILE
    path.write_text(json.dumps(stored))
    with pytest.raises(ProcessorError, match=words) as caught:
        ViTImageProcessor.load(path)
    assert str(path) in str(caught.value) and caught.value.exit_code == 3


def test_unreadable_files(tmp_path):
    with pytest.raises(ProcessorError, match="no such file; a processor needs a folder with"):
        ViTImageProcessor.load(tmp_path)
    path = tmp_path / settings.FILE
    for content, words in (
        (b'{\n"size":', "json:2: not JSON"),
        (b"[]", "expected a JSON object"),
        (b"\xff", "cannot be"),
    ):
        path.write_bytes(content)
        with pytest.raises(ProcessorError, match=words):
            ViTImageProcessor.load(tmp_path)


def test_overrides_and_unknown_keys_set_aside(tmp_path):
    (tmp_path / settings.FILE).write_text(json.dumps({"apply_ocr": True, "novel": 3}))
    with pytest.raises(ProcessorError, match="unknown key 'novel'"):
        LayoutLMv3ImageProcessor.load(tmp_path)
    processor = LayoutLMv3ImageProcessor.load(tmp_path, config={"apply_ocr": False, "novel": None})
    assert processor.config["apply_ocr"] is False


def test_a_null_switch_is_off_and_other_nulls_are_defaults():
    config = ViTImageProcessor({"do_normalize": None, "image_mean": None}).config
    assert config["do_normalize"] is False and config["image_mean"] == [0.5, 0.5, 0.5]


def test_names_of_all_versions_are_found():
    for name in ("ViTImageProcessor", "ViTImageProcessorFast", "ViTFeatureExtractor"):
        assert find(name) == "catalog.processors.image.plain:ViTImageProcessor"
    assert find("WhisperFeatureExtractor") == "catalog.processors.audio.whisper:WhisperFeatureExtractor"


def test_first_files_name_no_class(tmp_path):
    (tmp_path / settings.FILE).write_text("{}")
    with pytest.raises(ProcessorError, match=r"names no processor; add image_processor_type or"):
        settings.class_name(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "swin"}')
    assert settings.class_name(tmp_path) == "ViTImageProcessor"
    (tmp_path / settings.FILE).write_text('{"feature_extractor_type": "CLIPFeatureExtractor"}')
    assert find(settings.class_name(tmp_path)) == find("CLIPImageProcessor")
    assert {find(name) is None for name in (image.MODELS | audio.MODELS).values()} == {False}


@pytest.mark.parametrize(
    ("package", "call", "words"),
    [
        (
            "PIL",
            "catalog.processor('.', 'ViTImageProcessor')",
            "image processors need Pillow; pip install 'trivium[vision]'",
        ),
        (
            "soundfile",
            "importlib.import_module('catalog.processors.audio.inputs').read_file('a.wav')",
            "a.wav: reading sound files needs soundfile; pip install 'trivium[audio]'",
        ),
    ],
)
def test_missing_packages_are_named(package, call, words, root):
    code = f"""
import importlib, sys, catalog
sys.modules[{package!r}] = None  # what Python keeps for a package that cannot be imported
try:
    {call}
except Exception as error:
    print(type(error).__name__, error.exit_code, error)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.stdout.strip() == f"MissingExtra 2 {words}", run.stderr


def test_layout_pages_are_not_read_silently():
    with pytest.raises(ProcessorError, match="apply_ocr: no words are read off pages here"):
        LayoutLMv3ImageProcessor()([[0]])
