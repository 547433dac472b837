"""Padding, cutting, masks and what is refused; a batch gives what its sounds give alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import ProcessorError
from catalog.processors.audio import REGISTRY
from catalog.processors.audio.clap import ClapFeatureExtractor
from catalog.processors.audio.encodec import EncodecFeatureExtractor
from catalog.processors.audio.kaldi import ASTFeatureExtractor, SeamlessM4TFeatureExtractor, Speech2TextFeatureExtractor
from catalog.processors.audio.spectrogram import SpeechT5FeatureExtractor
from catalog.processors.audio.wav2vec2 import Wav2Vec2FeatureExtractor
from catalog.processors.audio.whisper import WhisperFeatureExtractor
from tests.support import processors

RATE = 16000
LONG, SHORT = (np.random.default_rng(s).normal(size=n).astype(np.float32) / 4 for s, n in ((0, 4000), (1, 2900)))
MASKED = Wav2Vec2FeatureExtractor({"return_attention_mask": True})


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - {"ClapFeatureExtractor", "Wav2Vec2FeatureExtractor"}))
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_is_its_sounds_one_by_one(name, side):
    extractor = processors.find(REGISTRY, name)({"padding_side": side})
    rate = extractor.config["sampling_rate"]
    batch = extractor([LONG, SHORT], rate)
    for i, wave in enumerate((LONG, SHORT)):
        alone = extractor(wave, rate)
        for key, value in alone.items():
            axis = 1 if name == "EncodecFeatureExtractor" and key == "input_values" else 0
            count = value[0].shape[axis]
            row = np.moveaxis(batch[key][i], axis, 0)
            np.testing.assert_array_equal(
                row[:count] if side == "right" else row[len(row) - count :], np.moveaxis(value[0], axis, 0), err_msg=key
            )


def test_without_a_mask_padding_counts_as_published():
    extractor = Wav2Vec2FeatureExtractor()
    padded = np.pad(SHORT, (0, 1100))
    got = extractor([LONG, SHORT], RATE)
    assert got.keys() == {"input_values"}
    np.testing.assert_allclose(got["input_values"][1], (padded - padded.mean()) / padded.std(), atol=1e-4)
    alone = MASKED([LONG, SHORT], RATE)["input_values"][1, :2900]
    np.testing.assert_allclose(alone, (SHORT - SHORT.mean()) / SHORT.std(), atol=1e-4)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 9), st.sampled_from(["left", "right"]))
def test_padding_keeps_every_sample(lengths, multiple, side):
    extractor = SpeechT5FeatureExtractor({"padding_side": side, "padding_value": 9.0})
    waves = [np.linspace(-1, 1, n, dtype=np.float32) for n in lengths]
    got = extractor(waves, RATE, pad_to_multiple_of=multiple)
    assert got["input_values"].shape[1] == -(-max(lengths) // multiple) * multiple
    for row, mask, wave in zip(got["input_values"], got["attention_mask"], waves):
        np.testing.assert_array_equal(row[mask == 1], wave)
        assert (row[mask == 0] == 9).all()
        assert (np.diff(mask) != 0).sum() <= 1 and mask[0 if side == "right" else -1] == 1


def test_cutting_is_asked_for_and_stated(caplog):
    got = MASKED([LONG, SHORT], RATE, padding="max_length", max_length=3000, truncation=True)
    np.testing.assert_array_equal(got["attention_mask"].sum(1), [3000, 2900])
    assert "audio[0]: cut from 4000 to 3000" in caplog.text
    for arguments, words in (
        ({"padding": "max_length", "max_length": 3000}, "length 4000 exceeds max_length=3000; pass truncation=True"),
        ({"padding": "max_length"}, "need max_length="),
        ({"truncation": True}, "need max_length="),
        ({"padding": False}, r"lengths \[4000, 2900\] differ; pass padding=True"),
        ({"padding": "longst"}, "padding: expected True, False, 'longest' or 'max_length', found 'longst'"),
    ):
        with pytest.raises(ProcessorError, match=words):
            MASKED([LONG, SHORT], RATE, **arguments)
    with pytest.raises(ProcessorError, match="padding_side: expected 'left' or 'right', found 'top'"):
        Wav2Vec2FeatureExtractor({"padding_side": "top"})


def test_whisper_chunks(caplog):
    extractor = WhisperFeatureExtractor({"chunk_length": 1, "return_attention_mask": True})
    got = extractor(LONG, RATE)
    assert got["input_features"].shape == (1, 80, 100)
    assert got["attention_mask"].tolist() == [[1] * 25 + [0] * 75]
    long = extractor(np.tile(LONG, 5), RATE)
    assert long["input_features"].shape == (1, 80, 100) and "cut from 20000 to 16000" in caplog.text
    whole = extractor(np.tile(LONG, 5), RATE, padding="longest", truncation=False, max_length=None)
    assert whole["input_features"].shape == (1, 80, 125)
    silent = extractor(np.zeros(16000, np.float32), RATE)["input_features"]
    np.testing.assert_allclose(silent, (-10 + 4) / 4)
    with pytest.raises(ProcessorError, match="n_samples: 480000 in the file, but its other settings give 16000"):
        WhisperFeatureExtractor({"chunk_length": 1, "n_samples": 480000})


def test_ast_pads_and_cuts_to_its_length(caplog):
    extractor = ASTFeatureExtractor({"max_length": 20})
    got = extractor([LONG, SHORT], RATE)["input_values"]
    assert got.shape == (2, 20, 128) and "cut from 23 to 20" in caplog.text
    np.testing.assert_allclose(got[1, 16:], 4.2677393 / (2 * 4.5689974), atol=1e-6)


def test_seamless_stacks_frames():
    got = SeamlessM4TFeatureExtractor()([LONG, SHORT], RATE)
    assert got["input_features"].shape == (2, 12, 160)
    np.testing.assert_array_equal(got["attention_mask"].sum(1), [11, 8])
    one = SeamlessM4TFeatureExtractor()(LONG[:400], RATE)
    assert not one["input_features"].any() and one["attention_mask"].tolist() == [[0]]


def test_normalisation_is_over_each_recording():
    got = Speech2TextFeatureExtractor()([LONG, SHORT], RATE)
    for row, mask in zip(got["input_features"], got["attention_mask"]):
        real = row[mask == 1]
        np.testing.assert_allclose(real.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(real.std(0), 1, atol=1e-4)
    quiet = Speech2TextFeatureExtractor()(np.zeros(4000, np.float32), RATE)["input_features"]
    assert not quiet.any()


def test_encodec_fills_whole_chunks():
    extractor = EncodecFeatureExtractor({"feature_size": 2, "chunk_length_s": 0.1, "overlap": 0.5})
    stereo = np.stack([LONG, -LONG], axis=1)
    got = extractor([stereo, stereo[:2900]], 24000)
    assert got["input_values"].shape == (2, 2, 6000)  # chunks of 2400 that start at each 1200 below 4000
    np.testing.assert_array_equal(got["padding_mask"].sum(1), [4000, 2900])
    np.testing.assert_array_equal(got["input_values"][0, :, :4000], stereo.T)
    cut = extractor([stereo, stereo[:2900]], 24000, truncation=True)
    assert cut["input_values"].shape == (2, 2, 3600)
    with pytest.raises(ProcessorError, match=r"expected \[T, 2\], found \[4000\]"):
        extractor(LONG, 24000)


@pytest.mark.parametrize("truncation", ["fusion", "rand_trunc"])
def test_clap_long_and_short(truncation):
    extractor = ClapFeatureExtractor({"max_length_s": 1, "truncation": truncation})
    views = 4 if truncation == "fusion" else 1
    time = np.arange(120000, dtype=np.float32) / 48000
    long = np.sin(2 * np.pi * (400 + 1000 * time) * time)
    got = extractor([long, LONG], 48000)
    assert got["input_features"].shape == (2, views, 101, 64)
    assert got["is_longer"].tolist() == [[True], [False]]
    np.testing.assert_array_equal(got["input_features"], extractor([long, LONG], 48000)["input_features"])
    drawn = extractor(long, 48000, rng=np.random.default_rng(5))["input_features"]
    assert not np.array_equal(drawn[0], got["input_features"][0])
    if truncation == "fusion":
        whole = extractor.features(long)
        np.testing.assert_allclose(got["input_features"][0, 0, 50], whole[[125]].mean(0), atol=3)
        assert any(np.array_equal(got["input_features"][0, 2], whole[start : start + 101]) for start in range(151))
    short = ClapFeatureExtractor({"max_length_s": 1, "padding": "pad"})
    assert len(short.filled(LONG)) == 48000 and not short.filled(LONG)[4000:].any()
    np.testing.assert_array_equal(extractor.filled(LONG)[:48000], np.tile(LONG, 12))
    with pytest.raises(ProcessorError, match="truncation=fuse"):
        ClapFeatureExtractor({"truncation": "fuse"})


def test_speech_targets_differ_from_inputs():
    extractor = SpeechT5FeatureExtractor({"num_mel_bins": 40})
    assert extractor.target(LONG, RATE)["input_values"].shape == (1, 16, 40)
    assert extractor.target.config["num_mel_bins"] == 40
