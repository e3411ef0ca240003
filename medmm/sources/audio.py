"""A WAV or FLAC file to one channel of 16,000 samples a second."""

from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medmm.errors import AudioError
from medmm.optional import require
from medmm.settings import LIMITS
from medmm.study import Recording
from medmm.types import AnyArray

RATE = 16_000
_FORMATS = ("WAV", "WAVEX", "FLAC")
_WAV = b"RIFF"
_SIGNATURES = (_WAV, b"fLaC")
_ENDLESS = b"\xff\xff\xff\xff"  # size of a WAV that was written to a pipe
_RATES = (4_000, 192_000)
_SAMPLES = int(LIMITS.audio_seconds * 2 * 48_000)  # of all channels: two of the best quality in use


def read_recording(path: Path) -> Recording:
    """Read one recording; channels are averaged and the rate is changed to `RATE`.

    Raises:
        AudioError: If it is missing, not WAV or FLAC, damaged or over a limit.
        DependencyError: If soundfile is not installed.
    """
    require("soundfile", "Reading audio", "audio")
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if path.stat().st_size > LIMITS.audio_bytes or not head.startswith(_SIGNATURES):
                raise _unfit()
            if head.startswith(_WAV) and int.from_bytes(head[4:], "little") > path.stat().st_size and head[4:] != _ENDLESS:
                raise _incomplete()
            file.seek(0)
            samples, rate = _decode(file)
    except (OSError, ValueError):  # no such file, or no name a file could have
        msg = "Expected a readable audio file; there is none. Check its path and permissions."
        raise AudioError(msg) from None
    return Recording(_resampled(samples, rate), RATE)


def _decode(file: BinaryIO) -> tuple[AnyArray, int]:
    """(N,) float32 and its rate. The header is checked first, and no more is decoded than it may promise."""
    import soundfile  # type: ignore[import-untyped]  # it ships no types

    try:
        with soundfile.SoundFile(file) as sound:
            rate = sound.samplerate
            most = min(LIMITS.audio_seconds * rate, _SAMPLES / sound.channels)
            if sound.format not in _FORMATS or not _RATES[0] <= rate <= _RATES[1] or not 0 < sound.frames <= most:
                raise _unfit()
            samples: AnyArray = sound.read(sound.frames, dtype="float32", always_2d=True)
            complete = len(samples) == sound.frames
    except soundfile.SoundFileError:
        complete = False
    if not complete:
        raise _incomplete()
    if not np.isfinite(samples).all():
        msg = "Expected finite audio samples; got NaN or infinity. Export the recording again."
        raise AudioError(msg)
    return samples.mean(axis=1, dtype=np.float32), rate


def _resampled(samples: AnyArray, rate: int) -> AnyArray:
    """Polyphase resampling to `RATE` with an antialiasing filter."""
    if rate == RATE:
        return samples
    from scipy.signal import resample_poly

    shared = gcd(rate, RATE)
    return np.asarray(resample_poly(samples, RATE // shared, rate // shared), dtype=np.float32)


def _incomplete() -> AudioError:
    msg = "Expected a complete WAV or FLAC file; this one is damaged or ends early. Export it again."
    return AudioError(msg)


def _unfit() -> AudioError:
    msg = (
        f"Expected WAV or FLAC of at most {LIMITS.audio_bytes >> 20} MB and {LIMITS.audio_seconds:.0f} seconds, less where more "
        "is sampled than two channels at 48 kHz; got something else. Export it so, or shorten it."
    )
    return AudioError(msg)
