"""Windows, filters and spectra against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ProcessorError
from catalog.processors.audio.spectrum import (
    frames,
    hamming,
    hann,
    kaldi_fbank,
    magnitude,
    mel_filters,
    povey,
    power_of_two,
    standardised,
    to_hertz,
    to_mel,
)


def test_windows():
    np.testing.assert_allclose(hann(4), [0, 0.5, 1, 0.5], atol=1e-15)
    np.testing.assert_allclose(hann(5, periodic=False), [0, 0.5, 1, 0.5, 0], atol=1e-15)
    np.testing.assert_allclose(hamming(5, periodic=False), [0.08, 0.54, 1, 0.54, 0.08], atol=1e-15)
    np.testing.assert_allclose(povey(5), np.array([0, 0.5, 1, 0.5, 0]) ** 0.85, atol=1e-12)


@pytest.mark.parametrize("scale", ["htk", "kaldi", "slaney"])
@given(hertz=st.floats(0, 24000))
def test_scales_invert(scale, hertz):
    assert to_hertz(to_mel(hertz, scale), scale) == pytest.approx(hertz, abs=1e-6)


def test_known_mels():
    assert to_mel(1000, "htk") == pytest.approx(999.9855, abs=1e-3)
    assert to_mel(1000, "slaney") == pytest.approx(15)
    assert to_mel(6400, "slaney") == pytest.approx(42)  # 27 steps for a factor of 6.4


def test_triangles():
    filters = mel_filters(10, 512, 16000, 0, 8000, scale="htk")
    assert filters.shape == (257, 10) and filters.min() == 0 and filters.max() <= 1
    peaks = np.argmax(filters, axis=0)
    assert (np.diff(peaks) > 0).all()
    between = filters[peaks[0] + 1 : peaks[-1]].sum(axis=1)
    np.testing.assert_allclose(between, 1, atol=1e-9)  # neighbours share every bin between the first and the last peak
    area = mel_filters(10, 8192, 16000, 0, 8000, scale="slaney", unit_area=True).sum(axis=0) * 16000 / 8192
    np.testing.assert_allclose(area, 1, atol=1e-3)


def test_a_tone_is_loudest_in_its_band():
    time = np.arange(16000) / 16000
    energies = kaldi_fbank(np.sin(2 * np.pi * 1000 * time).astype(np.float32), 16000, 80, povey)
    assert energies.shape == (98, 80) and energies.dtype == np.float32
    centres = to_hertz(np.linspace(to_mel(20, "kaldi"), to_mel(8000, "kaldi"), 82)[1:-1], "kaldi")
    assert abs(centres[energies.mean(axis=0).argmax()] - 1000) < 30


def test_a_sound_shorter_than_a_frame_is_refused():
    with pytest.raises(ProcessorError, match="audio of 399 samples is shorter than one frame of 400"):
        kaldi_fbank(np.zeros(399, np.float32), 16000, 80, povey)


def test_frames_and_spectrum():
    np.testing.assert_array_equal(frames(np.arange(7), 3, 2), [[0, 1, 2], [2, 3, 4], [4, 5, 6]])
    assert magnitude(np.ones((1, 3)), 4)[0] == pytest.approx([3, 1, 1])
    assert [power_of_two(n) for n in (1, 400, 512, 513)] == [1, 512, 512, 1024]


def test_silence_is_zero_not_nan():
    assert not standardised(np.ones((5, 2), np.float32), True, True).any()
