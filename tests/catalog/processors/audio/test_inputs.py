"""Sounds in every form, rates and their conversion, and what is refused."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ProcessorError
from catalog.processors.audio.inputs import read_waves, resampled

WAVE = np.sin(np.linspace(0, 20, 1000)).astype(np.float32)


@pytest.mark.parametrize(
    "form",
    [WAVE, WAVE.tolist(), [WAVE], WAVE[None], [WAVE.tolist()], {"array": WAVE, "sampling_rate": 8000}, WAVE[None].T],
    ids=["array", "list", "list of arrays", "batch", "list of lists", "dict", "one channel"],
)
def test_forms_of_one_sound(form):
    form = [form] if getattr(form, "shape", None) == (1000, 1) else form
    (got,) = read_waves(form, 8000, 8000)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, WAVE)


def test_integers_are_sixteen_bits():
    (got,) = read_waves(np.array([-32768, 0, 16384], np.int16), 8000, 8000)
    np.testing.assert_array_equal(got, [-1, 0, 0.5])


def test_files(tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "mono.wav", WAVE, 8000, subtype="FLOAT")
    (got,) = read_waves(tmp_path / "mono.wav", None, 8000)
    np.testing.assert_array_equal(got, WAVE)
    soundfile.write(tmp_path / "two.wav", np.stack([WAVE, 0 * WAVE], 1), 8000, subtype="FLOAT")
    (got,) = read_waves([str(tmp_path / "two.wav")], None, 8000)
    np.testing.assert_allclose(got, WAVE / 2, atol=1e-7)
    assert "two.wav: 2 channels mixed to one" in caplog.text
    (got,) = read_waves(tmp_path / "two.wav", None, 8000, channels=2)
    assert got.shape == (1000, 2)
    with pytest.raises(ProcessorError, match=r"mono\.wav: 8000 samples per second, the model wants 16000"):
        read_waves(tmp_path / "mono.wav", 16000, 16000)  # what a file says of itself is believed
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ProcessorError, match=r"text\.wav: not a readable sound file"):
        read_waves(tmp_path / "text.wav", None, 8000)
    with pytest.raises(ProcessorError, match=r"absent\.wav: no such sound file"):
        read_waves("absent.wav", None, 8000)


@pytest.mark.parametrize(
    ("sound", "rate", "words"),
    [
        (WAVE, None, r"audio\[0\]: a bare array does not say its rate; pass sampling_rate="),
        (WAVE, 44100, "44100 samples per second, the model wants 8000; pass resample=True"),
        ([WAVE, np.array([])], 8000, r"audio\[1\]: expected samples"),
        (np.array([0.0, np.nan]), 8000, "NaN or infinity"),
        (np.array([1, 2]), 8000, "int64 samples; give floats in -1..1 or int16"),
        (np.zeros((2, 3, 4)), 8000, r"expected \[T\], found \[2, 3, 4\]"),
        ([], 8000, "empty list"),
        ({"array": WAVE}, 8000, "'sampling_rate' is missing"),
    ],
)
def test_what_is_no_sound_is_refused(sound, rate, words):
    with pytest.raises(ProcessorError, match=words):
        read_waves(sound, rate, 8000)


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 24000)])
def test_resampling_keeps_tones_and_removes_what_the_new_rate_cannot_hold(rate, wanted):
    time, middle = np.arange(rate // 2) / rate, slice(wanted // 10, -wanted // 10)
    got = resampled(np.sin(2 * np.pi * 1000 * time), rate, wanted)
    assert len(got) == wanted // 2
    want = np.sin(2 * np.pi * 1000 * np.arange(len(got)) / wanted)
    np.testing.assert_allclose(got[middle], want[middle], atol=1e-6)
    if rate > wanted:
        above = resampled(np.sin(2 * np.pi * 0.6 * wanted * time), rate, wanted)
        assert np.abs(above[middle]).max() < 1e-6


@given(st.integers(1, 400), st.sampled_from([(3, 2), (2, 3), (147, 160), (5, 1), (1, 4), (7, 7)]))
def test_resampled_length(count, rates):
    assert len(resampled(np.ones((count, 2)), *rates)) == -(-count * rates[1] // rates[0])


def test_resampling_is_stated(caplog):
    caplog.set_level(logging.WARNING)
    (got,) = read_waves(WAVE, 8000, 16000, resample=True)
    assert len(got) == 2000 and "audio[0]: resampled from 8000 to 16000 samples per second" in caplog.text
