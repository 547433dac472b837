"""Whatever holds sound -> float32 mono waveforms at the rate a model was trained on."""

import logging
from math import ceil, gcd
from numbers import Number
from pathlib import Path

import numpy as np

from catalog.errors import MissingExtra, ProcessorError

log = logging.getLogger(__name__)


def read_waves(audio, rate, wanted, resample=False, channels=1):
    """One sound or a list of them -> list of float32 [T], or [T, channels] where channels > 1.

    audio      a path, an array [T] (or [T, channels]), a dict {"array", "sampling_rate"}, or a list of these
    rate       samples per second of bare arrays; files and dicts carry their own
    wanted     the rate to return
    resample   convert other rates (each conversion is logged); otherwise another rate is an error
    Raises ProcessorError naming the file or the position.
    """
    if isinstance(audio, (list, tuple)) and not (audio and isinstance(audio[0], Number)):
        batch = list(audio)
    else:
        batch = list(audio) if getattr(audio, "ndim", 0) == (2 if channels == 1 else 3) else [audio]
    if not batch:
        raise ProcessorError("audio: an empty list; give at least one sound")
    return [_one(sound, rate, wanted, resample, channels, f"audio[{i}]") for i, sound in enumerate(batch)]


def _one(sound, rate, wanted, resample, channels, name):
    if isinstance(sound, (str, Path)):
        name = str(sound)
        wave, rate = read_file(sound)
    elif isinstance(sound, dict):
        try:
            wave, rate = np.asarray(sound["array"]), sound["sampling_rate"]
        except KeyError as error:
            raise ProcessorError(
                f"{name}: a dict of audio needs 'array' and 'sampling_rate'; {error} is missing"
            ) from None
    else:
        wave = np.asarray(sound)
    wave = _channels(_float(wave, name), channels, name)
    if rate is None:
        raise ProcessorError(
            f"{name}: a bare array does not say its rate; pass sampling_rate= (the model wants {wanted})"
        )
    if rate == wanted:
        return wave
    if not resample:
        raise ProcessorError(
            f"{name}: {rate} samples per second, the model wants {wanted}; pass resample=True to convert it"
        )
    log.warning("%s: resampled from %s to %s samples per second", name, rate, wanted)
    return resampled(wave, rate, wanted)


def read_file(path):
    """A sound file -> (float32 [T] or [T, channels], samples per second). Needs soundfile."""
    try:
        import soundfile
    except ImportError:
        raise MissingExtra(f"{path}: reading sound files needs soundfile; pip install 'trivium[audio]'") from None
    if not Path(path).is_file():
        raise ProcessorError(f"{path}: no such sound file")
    try:
        return soundfile.read(str(path), dtype="float32")
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise ProcessorError(f"{path}: not a readable sound file ({error})") from None


def _float(wave, name):
    if wave.size == 0 or wave.dtype.kind not in "fiu":
        raise ProcessorError(f"{name}: expected samples, found {wave.dtype} {list(wave.shape)}")
    if wave.dtype.kind != "f":
        if wave.dtype != np.int16:
            raise ProcessorError(f"{name}: {wave.dtype} samples; give floats in -1..1 or int16")
        return wave.astype(np.float32) / np.float32(32768)
    if not np.isfinite(wave).all():
        raise ProcessorError(f"{name}: NaN or infinity among the samples")
    return wave.astype(np.float32)


def _channels(wave, channels, name):
    if wave.ndim == 2 and channels == 1:
        if wave.shape[1] > 1:
            log.warning("%s: %d channels mixed to one by their mean", name, wave.shape[1])
        return wave.mean(axis=1)
    if (wave.ndim == 1 and channels == 1) or (wave.ndim == 2 and wave.shape[1] == channels):
        return wave
    raise ProcessorError(f"{name}: expected {'[T]' if channels == 1 else f'[T, {channels}]'}, found {list(wave.shape)}")


def resampled(wave, rate, wanted, zeros=64, rolloff=0.9476, beta=14.77):
    """Band-limited conversion of [T] or [T, C] to another rate -> ceil(T * wanted / rate) samples.

    A Kaiser-windowed sinc with ``zeros`` crossings a side, cut off at ``rolloff`` of the smaller Nyquist frequency, tabulated
    once for each of the positions between input samples that occur. Smith and Gossett, 1984, "A flexible sampling-rate
    conversion method".
    """
    common = gcd(int(rate), int(wanted))
    old, new = int(rate) // common, int(wanted) // common
    cutoff = rolloff * min(1.0, new / old)  # of the input's Nyquist frequency
    reach = ceil(zeros / cutoff)
    count = ceil(len(wave) * new / old)
    padded = np.pad(wave.astype(np.float64), ((reach, reach + old), *[(0, 0)] * (wave.ndim - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    result = np.empty((count, *wave.shape[1:]))
    for phase in range(min(new, count)):  # outputs at phase, phase + new, ... all fall at the same place between inputs
        whole, part = divmod(phase * old, new)
        t = (np.arange(-reach, reach + 1) - part / new) * cutoff
        taper = np.i0(beta * np.sqrt(np.maximum(0, 1 - (t / zeros) ** 2))) / np.i0(beta) * (np.abs(t) <= zeros)
        outputs = len(range(phase, count, new))
        result[phase::new] = windows[whole::old][:outputs] @ (cutoff * np.sinc(t) * taper)
    return result.astype(np.float32)
