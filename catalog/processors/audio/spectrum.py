"""Windows, spectra and mel filter banks, in float64: logarithms of small energies amplify rounding."""

from functools import lru_cache

import numpy as np

from catalog.errors import ProcessorError

# Slaney's scale: linear below 1000 Hz (200/3 Hz a mel), logarithmic above (27 steps for a factor of 6.4).
LINEAR_END, LINEAR_STEP, LOG_STEP = 1000.0, 200.0 / 3, 27 / np.log(6.4)


def hann(length, periodic=True):
    """Hann window [length]."""
    return _cosine(0.5, length, periodic)


def hamming(length, periodic=True):
    """Hamming window [length]."""
    return _cosine(0.54, length, periodic)


def povey(length):
    """Kaldi's window [length]: a symmetric Hann to the power 0.85."""
    return hann(length, periodic=False) ** 0.85


def _cosine(a, length, periodic):
    return a - (1 - a) * np.cos(2 * np.pi * np.arange(length) / (length if periodic else length - 1))


def frames(wave, length, hop):
    """Overlapping frames of [T], without padding -> a view [N, length], N = 1 + (T - length) // hop.

    Raises ProcessorError where T < length.
    """
    if len(wave) < length:
        raise ProcessorError(f"audio of {len(wave)} samples is shorter than one frame of {length}; give a longer one")
    return np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]


def centred(wave, n_fft):
    """[T] mirrored by n_fft // 2 at both ends, so that frame k is centred on sample k * hop."""
    return np.pad(wave.astype(np.float64), n_fft // 2, mode="reflect")


def power_of_two(length):
    """The smallest power of two that holds ``length`` samples."""
    return 1 << (length - 1).bit_length()


def magnitude(windowed, n_fft):
    """Absolute spectrum of windowed frames [N, length] -> [N, n_fft // 2 + 1]."""
    return np.abs(np.fft.rfft(windowed, n_fft))


def to_mel(hertz, scale):
    """Frequency -> mel, by ``scale``: "htk", "kaldi" (the same curve, other unit) or "slaney"."""
    hertz = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    if scale == "kaldi":
        return 1127 * np.log(1 + hertz / 700)
    high = LINEAR_END / LINEAR_STEP + np.log(np.maximum(hertz, LINEAR_END) / LINEAR_END) * LOG_STEP
    return np.where(hertz >= LINEAR_END, high, hertz / LINEAR_STEP)


def to_hertz(mel, scale):
    """Inverse of ``to_mel``."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    if scale == "kaldi":
        return 700 * (np.exp(mel / 1127) - 1)
    knee = LINEAR_END / LINEAR_STEP
    return np.where(mel >= knee, LINEAR_END * np.exp((np.maximum(mel, knee) - knee) / LOG_STEP), mel * LINEAR_STEP)


@lru_cache(maxsize=32)
def mel_filters(bands, n_fft, rate, low, high, *, scale, unit_area=False, in_mel=False):
    """Triangles, evenly spaced on a mel ``scale`` between ``low`` and ``high`` Hz -> [n_fft // 2 + 1, bands].

    unit_area   divide each triangle by its width in Hz (Slaney's normalisation)
    in_mel      straight sides in mel (Kaldi) instead of in Hz
    """
    bins = np.arange(n_fft // 2 + 1) * rate / n_fft
    corners = np.linspace(to_mel(low, scale), to_mel(high, scale), bands + 2)
    hertz = to_hertz(corners, scale)
    x, edges = (to_mel(bins, scale), corners) if in_mel else (bins, hertz)
    rise = (x[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - x[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall))
    return filters * (2 / (hertz[2:] - hertz[:-2])) if unit_area else filters


def kaldi_fbank(wave, rate, bands, window):
    """Kaldi's log mel energies of [T]: frames of 25 ms every 10 ms -> float32 [N, bands].

    Per frame: mean removed, pre-emphasis 0.97, ``window``, power spectrum, triangles in mel from 20 Hz to Nyquist.
    """
    length, hop = rate * 25 // 1000, rate * 10 // 1000
    n_fft = power_of_two(length)
    x = frames(wave.astype(np.float64), length, hop)
    x = x - x.mean(axis=1, keepdims=True)
    x = emphasised(x) * window(length)
    filters = mel_filters(bands, n_fft, rate, 20, rate / 2, scale="kaldi", in_mel=True)
    energies = magnitude(x, n_fft) ** 2 @ filters
    return np.log(np.maximum(energies, np.finfo(np.float32).eps)).astype(np.float32)


def emphasised(x, coefficient=0.97):
    """Pre-emphasis within each frame [N, length]; the first sample counts as its own predecessor."""
    return x - coefficient * np.concatenate([x[:, :1], x[:, :-1]], axis=1)


def standardised(x, means, variances):
    """Each band of [N, bands] to mean 0 and variance 1 over the recording (CMVN); a constant band becomes 0."""
    x = x - x.mean(axis=0, dtype=np.float64) if means else x
    x = x / np.maximum(x.std(axis=0, dtype=np.float64), np.finfo(np.float32).tiny) if variances else x
    return x.astype(np.float32)
