"""Sound as pictures: log-mel spectrograms, from numbers, from ``.npy`` files, and from audio files.

A spectrogram is float32 (64, frames) in decibels: 64 bands from 20 to 8,000 Hz on Slaney's mel scale, each of area one,
a frame every 512 samples of 16,000 a second, squared magnitudes of 2,048 samples under Hann's window, 10 log₁₀ of them,
clipped to -80 … 20. An item without one that can be used has a reason instead, a :data:`Problem`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from scipy.signal import resample_poly

from recsys.arrays import Float32, Float64

BANDS = 64
RATE = 16_000
HOP = 512
FFT = 2048
LOWEST, HIGHEST = 20.0, 8_000.0
"""Hz, where the first band begins and the last one ends."""
FLOOR, CEILING = -80.0, 20.0
"""dB."""
RATES = (1_000, 400_000)
"""Samples a second that a file may have, least and most."""
SILENCE = -60.0
"""dB: a spectrogram that nowhere gets above this is silent."""
LONGEST = 600
"""Seconds that are read; what comes after is not."""
MOST_FRAMES = LONGEST * RATE // HOP
BLOCK = 1024
"""Frames that are transformed at once."""

Problem = Literal[
    "nothing said",
    "not a spectrogram",
    "not finite",
    "too short",
    "silent",
    "no folder",
    "outside the folder",
    "no such file",
    "not audio",
    "corrupt",
    "extra audio is missing",
]
"""Why a spectrogram cannot be used; :data:`MEANING` says what each wants."""
PROBLEMS: tuple[Problem, ...] = get_args(Problem)
MEANING: Mapping[Problem, str] = MappingProxyType(
    {
        "nothing said": "the item has no spectrogram and names no file",
        "not a spectrogram": f"({BANDS}, frames) or (clips, {BANDS}, frames) was wanted, of 0 to 255 or in dB",
        "not finite": "a number is not finite",
        "too short": "it has fewer frames than the network looks at",
        "silent": f"it nowhere gets above {SILENCE:.0f} dB, or is the same everywhere",
        "no folder": "a file is named, but the encoder has no `folder` in which files are looked for",
        "outside the folder": "the file that is named lies outside the encoder's `folder`",
        "no such file": "there is no such file in the encoder's `folder`",
        "not audio": "no format that libsndfile knows",
        "corrupt": "the file begins as it should and cannot be read",
        "extra audio is missing": "an audio file is named: run `pip install 'recsys-engine[audio]'`",
    }
)


def read(said: Any, window: int, folder: Path | None) -> Float32 | Problem:
    """Clips of one length, float32 (c, 64, frames) in dB, of what a description says, or why there are none.

    ``said``: a spectrogram (64, frames) or several (c, 64, frames), as an array or as lists, of dB, or of whole numbers
    x from 0 to 255 that mean x / 255 · 100 - 80; or the name of a file in ``folder``, audio or a ``.npy`` of the same.
    ``window``: frames that there must be. Of more than ten minutes the rest is not read.
    """
    if said is None or (isinstance(said, str) and not said.strip()):
        return "nothing said"
    if isinstance(said, str | Path):
        found = _of_file(said, folder)
        return found if isinstance(found, str) else _checked(found, window)
    return _checked(said, window)


def decibels(samples: Float32, rate: int = RATE) -> Float32:
    """The spectrogram of a sound, float32 (64, 1 + n // 512), n being how many of its samples are 16,000 a second's.

    ``samples``: float32, ``rate`` a second, in -1 … 1.
    """
    if rate != RATE:
        common = math.gcd(rate, RATE)
        samples = resample_poly(samples, RATE // common, rate // common).astype(np.float32)
    frames = 1 + len(samples) // HOP
    padded = np.pad(samples, FFT // 2)
    starts = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)).astype(np.float32)
    power = np.empty((BANDS, frames), np.float32)
    for low in range(0, frames, BLOCK):
        spectrum = np.fft.rfft(starts[low : low + BLOCK] * window)
        power[:, low : low + BLOCK] = mel_bands() @ (spectrum.real**2 + spectrum.imag**2).T
    loud: Float32 = np.clip(10 * np.log10(np.maximum(power, 1e-10)), FLOOR, CEILING)
    return loud


@cache
def mel_bands() -> Float32:
    """What each frequency of a transform adds to each band, float32 (64, 1025). Slaney (1998), Auditory Toolbox."""
    frequencies = np.linspace(0, RATE / 2, FFT // 2 + 1)
    low, high = _mel(np.array([LOWEST, HIGHEST]))
    edges = _hertz(np.linspace(low, high, BANDS + 2))
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return bands.astype(np.float32)


def _mel(hertz: Float64) -> Float64:
    """Slaney's scale: straight up to 1,000 Hz, then logarithmic, 27 steps to 6,400."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def _hertz(mel: Float64) -> Float64:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _checked(said: Any, window: int) -> Float32 | Problem:
    """The same for numbers."""
    try:
        numbers = np.asarray(said)
    except (TypeError, ValueError, OverflowError):
        return "not a spectrogram"
    if numbers.dtype.kind not in "uif" or numbers.ndim not in {2, 3} or numbers.shape[-2] != BANDS:
        return "not a spectrogram"
    if not numbers.size or numbers.shape[-1] < window:
        return "too short"
    numbers = numbers.reshape(-1, BANDS, numbers.shape[-1])[:, :, :MOST_FRAMES]
    clips = _in_decibels(numbers[: MOST_FRAMES // numbers.shape[2]])
    if isinstance(clips, str):
        return clips
    loudest = clips.max()
    return "silent" if loudest <= SILENCE or loudest - clips.min() < 1 else clips


def _in_decibels(numbers: np.ndarray) -> Float32 | Problem:
    if numbers.dtype.kind == "f":
        if not np.isfinite(numbers).all():
            return "not finite"
        in_range: Float32 = np.clip(numbers, FLOOR, CEILING).astype(np.float32)
        return in_range
    if not 0 <= numbers.min() <= numbers.max() <= 255:
        return "not a spectrogram"
    clips: Float32 = numbers.astype(np.float32) * np.float32((CEILING - FLOOR) / 255) + np.float32(FLOOR)
    return clips


def file_of(said: str | Path, folder: Path | None) -> Path | Problem:
    """The file in ``folder`` that a description names, or why there is none."""
    if folder is None:
        return "no folder"
    try:
        path = (folder / said).resolve()
        if not path.is_relative_to(folder.resolve()):
            return "outside the folder"
        return path if path.is_file() else "no such file"
    except (OSError, ValueError):
        # no file can have such a name
        return "no such file"


def _of_file(said: str | Path, folder: Path | None) -> np.ndarray | Problem:
    """What stands in a file, not yet checked."""
    path = file_of(said, folder)
    if isinstance(path, str):
        return path
    if path.suffix != ".npy":
        return _of_audio(path)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return "corrupt"


def _of_audio(path: Path) -> np.ndarray | Problem:
    """The spectrogram of an audio file in any format of libsndfile (WAV, FLAC, Ogg, MP3 …), its channels mixed."""
    try:
        import soundfile  # noqa: PLC0415  the extra `audio`
    except ModuleNotFoundError:
        return "extra audio is missing"
    try:
        sound = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError):
        return "not audio"
    with sound:
        if not RATES[0] <= sound.samplerate <= RATES[1]:
            return "corrupt"
        try:
            samples = sound.read(LONGEST * sound.samplerate, dtype="float32", always_2d=True).mean(axis=1)
        except (soundfile.SoundFileError, OSError, MemoryError):
            return "corrupt"
        if not np.isfinite(samples).all():
            return "not finite"
        return decibels(samples, sound.samplerate)
