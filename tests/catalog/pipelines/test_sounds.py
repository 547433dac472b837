"""Pipelines of sound: what doing it by hand gives; long recordings in chunks, put together as if heard whole."""

import json

import numpy as np
import pytest
import torch

import catalog
from catalog.errors import ConfigError, ProcessorError
from catalog.pipelines.speech import Chunk, chunks, joined, overlapped
from catalog.processors.audio.wav2vec2 import Wav2Vec2FeatureExtractor
from catalog.processors.audio.whisper import WhisperFeatureExtractor
from catalog.processors.joint import Joint
from catalog.processors.text import build
from tests.catalog.pipelines.conftest import tone
from tests.support.golden import FOLDER

SMALL = {
    "width": 16, "heads": 2, "hidden": 32, "conv_sizes": (16, 16), "conv_kernels": (10, 8), "conv_strides": (10, 8),
    "conv_norm": "layer", "position_kernel": 2, "position_groups": 2, "head_hidden": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def letters():
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijk"]
    return build("Wav2Vec2CTCTokenizer", {"vocab.json": json.dumps({t: i for i, t in enumerate(tokens)}).encode()})


def test_audio_classification(folder, tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    features = Wav2Vec2FeatureExtractor({"return_attention_mask": False})
    path = folder("wav2vec2", "audio-classification", features, depth=1, labels=("low", "high"), **SMALL)
    do, sounds = catalog.pipeline("audio-classification", path), [tone(0.2), tone(0.3, pitch=880), tone(0.2, pitch=90)]
    found = do(sounds, sampling_rate=16000)
    model = catalog.load(path)
    for sound, answer in zip(sounds, found, strict=True):  # each as if alone: this model is not told what is padding
        with torch.no_grad():
            shares = model(torch.tensor(features(sound, 16000)["input_values"])).logits[0].softmax(-1)
        scores = {item["label"]: item["score"] for item in answer}
        assert scores == pytest.approx({"low": float(shares[0]), "high": float(shares[1])}, abs=1e-5)
    soundfile.write(file := tmp_path / "a.wav", tone(0.2, 8000), 8000, subtype="FLOAT")
    assert do(str(file)) == do({"array": tone(0.2, 8000), "sampling_rate": 8000})
    assert "a.wav: resampled from 8000 to 16000" in caplog.text
    with pytest.raises(ProcessorError, match="does not say its rate"):
        do(sounds[0])
    with pytest.raises(ProcessorError, match=r"absent\.wav: no such sound file"):
        do("absent.wav")


def test_chunks_judge_every_sample_once():
    for length, size, stride in ((100, 30, 5), (31, 30, 0), (30, 30, 5), (95, 30, 14), (61, 20, 0)):
        found = chunks(length, size, stride)
        assert [c.first for c in found[1:]] == [c.last for c in found[:-1]]
        assert (found[0].first, found[-1].last) == (0, length)
        assert all(c.end - c.start <= size and (c is found[0] or c.first - c.start == stride) for c in found)
    of = [Chunk(0, 6, 0, 4), Chunk(2, 8, 4, 8)]
    assert joined(of, [np.array([1, 2, 9]), np.array([9, 3, 4])], [3, 3], 2) == [1, 2, 3, 4]


def test_ctc_in_chunks_is_ctc_of_the_whole(folder, letters):
    features = Wav2Vec2FeatureExtractor({"do_normalize": False, "return_attention_mask": True})
    sizes = {
        **SMALL,
        "depth": 0,
        "vocab": len(letters),
        "pad_id": letters.pad_id,
    }  # no attention: a frame hears its surroundings
    path = folder("wav2vec2", "ctc", Joint(letters, features), **sizes)
    do, sound = catalog.pipeline("automatic-speech-recognition", path, batch_size=3), tone(2.0)
    whole = do(sound, sampling_rate=16000)
    with torch.no_grad():
        ids = catalog.load(path)(torch.tensor(features(sound, 16000)["input_values"])).logits[0].argmax(-1)
    assert whole["text"] == letters.decode(ids) and len(set(ids.tolist())) > 3
    assert do(sound, sampling_rate=16000, chunk_length_s=0.3, stride_length_s=0.05) == whole
    assert do([sound[:9000], sound], sampling_rate=16000)[1] == whole
    stamped = do(sound, sampling_rate=16000, return_timestamps="char")
    assert [c["text"] for c in stamped["chunks"]] == [span["char"] for span in letters.spans(ids)]
    assert stamped["chunks"][-1]["timestamp"][1] <= 2.0
    for wrong in (
        {"chunk_length_s": 0.3, "stride_length_s": 0.2},
        {"language": "german"},
        {"return_timestamps": "line"},
    ):
        with pytest.raises(ConfigError):
            do(sound, sampling_rate=16000, **wrong)


def test_transcripts_meet_where_they_say_the_same():
    assert overlapped([1, 2, 3, 4, 5], [3, 4, 5, 6]) == [1, 2, 3, 4, 5, 6]
    assert overlapped([1, 2, 3, 4, 9], [2, 3, 4, 5, 6]) == [1, 2, 3, 4, 5, 6]  # cut off in the middle of a word
    assert overlapped([1, 2], [3, 4]) == [1, 2, 3, 4]


def test_whisper(folder):
    released = (FOLDER / "tokenizers/whisper_multilingual.tiktoken").read_bytes()
    tokenizer = build("WhisperTokenizer", {"multilingual.tiktoken": released})
    features = WhisperFeatureExtractor({"chunk_length": 1})
    end, start = tokenizer.eos_id, tokenizer.vocabulary_id("<|startoftranscript|>")
    sizes = {"vocab": len(tokenizer), "width": 16, "depth": 1, "decoder_depth": 1, "heads": 2, "decoder_heads": 2, "hidden": 32,
             "decoder_hidden": 32, "frames": 50, "positions": 24, "eos_id": end, "pad_id": end, "bos_id": end,
             "decoder_start_id": start}  # fmt: skip
    path = folder("whisper", "seq2seq-lm", Joint(tokenizer, features), **sizes)
    do = catalog.pipeline("automatic-speech-recognition", path)
    sounds = [tone(0.5), tone(0.9, pitch=200)]
    found = do(sounds, sampling_rate=16000, max_new_tokens=6)
    model, begin = catalog.load(path), tokenizer.prefix_ids()
    for sound, answer in zip(sounds, found, strict=True):
        heard = torch.tensor(features(sound, 16000)["input_features"])
        ids = catalog.generate(model, heard, decoder_input_ids=[begin], max_new_tokens=6).sequences[0, len(begin) :]
        assert answer == {"text": tokenizer.decode(ids.tolist(), skip_special_tokens=True).strip()}
    assert isinstance(
        do(tone(2.5), sampling_rate=16000, max_new_tokens=6)["text"], str
    )  # three seconds in chunks of one
    with pytest.raises(ConfigError, match="hears 1 seconds"):
        do(sounds, sampling_rate=16000, chunk_length_s=2.0)
