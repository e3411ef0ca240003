"""A recording to the input of an audio encoder: its waveform, or log-mel features as Whisper reads them.

Mel scale of Slaney (1998), filters of equal area, power spectrum of a Hann window, log10 with the loudest 80 dB kept: the same
numbers as the feature extractor of Whisper (Radford et al. 2022), but without padding to half a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from pydantic import ConfigDict

from medmm.study import Notice, Study
from medmm.types import FloatArray

_LINEAR, _BREAK, _STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27  # Slaney: linear below 1 kHz, logarithmic above
_RANGE = 8.0  # decades of power below the loudest that are told apart


@dataclass(frozen=True, slots=True)
class AudioRecipe:
    """How a recording becomes network input; stored with the weights.

    Attributes:
        features: `mel` for log-mel frames, `waveform` for samples of zero mean and unit variance.
        rate: Samples a second; a recording of another rate is resampled before (`sources.audio`).
        mels: Mel bands.
        window, hop: Samples of one frame and between frames.
        seconds: Longest input; longer recordings are cut at the end and say so.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    features: Literal["mel", "waveform"] = "mel"
    rate: int = 16_000
    mels: int = 80
    window: int = 400
    hop: int = 160
    seconds: float = 30.0

    def read(self, study: Study) -> tuple[tuple[torch.Tensor], list[Notice]]:
        """(frames, mels), or (samples,) of the waveform, and what to tell the reader.

        Raises:
            ValueError: If the recording has another rate; every reader of medmm brings it to 16 kHz.
        """
        recording = study.recording
        assert recording is not None  # asked only of studies with a recording
        if recording.rate != self.rate:
            msg = f"Expected a recording of {self.rate} samples a second; got {recording.rate}. Resample it."
            raise ValueError(msg)
        notices = []
        if recording.seconds > self.seconds:
            message = f"The recording lasts {recording.seconds:.0f} s; the first {self.seconds:.0f} s were used."
            notices.append(Notice("W_AUDIO_CUT", message))
        samples = torch.from_numpy(recording.samples[: int(self.seconds * self.rate)])
        if self.features == "mel":
            return (log_mel(samples, self),), notices
        return ((samples - samples.mean()) / (samples.var(correction=0) + 1e-7).sqrt(),), notices

    def stack(self, inputs: Sequence[tuple[torch.Tensor, ...] | None]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, frames, mels) or (B, samples), padded with zeros to the longest, and (B, frames or samples) True on real ones."""
        lengths = torch.tensor([0 if given is None else len(given[0]) for given in inputs])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        stacked = torch.zeros(*mask.shape, *((self.mels,) if self.features == "mel" else ()))
        for row, given in enumerate(inputs):
            if given is not None:
                stacked[row, : len(given[0])] = given[0]
        return stacked, mask


def log_mel(samples: torch.Tensor, recipe: AudioRecipe) -> torch.Tensor:
    """(frames, mels) of (N,) samples, about -1 to 1; the quietest told apart is 80 dB below the loudest."""
    half = recipe.window // 2
    if len(samples) <= half:  # shorter than what is mirrored at the ends
        samples = torch.nn.functional.pad(samples, (0, half + 1 - len(samples)))
    spectrum = torch.stft(samples, recipe.window, recipe.hop, window=torch.hann_window(recipe.window), return_complex=True)
    power = spectrum[:, :-1].abs().square() if spectrum.shape[1] > 1 else spectrum.abs().square()
    bands = torch.from_numpy(mel_filters(recipe.mels, recipe.window, recipe.rate)).float() @ power
    loudness = bands.clamp_min(1e-10).log10()
    return ((loudness.maximum(loudness.max() - _RANGE) + 4) / 4).T.contiguous()


@lru_cache(maxsize=4)
def mel_filters(mels: int, window: int, rate: int) -> FloatArray:
    """(mels, window // 2 + 1) triangular filters from 0 Hz to half the rate, each of area 1 Hz."""
    bins = np.linspace(0, rate / 2, window // 2 + 1)
    edges = _to_hertz(np.linspace(0, _to_mel(rate / 2), mels + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters: FloatArray = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters


def _to_mel(hertz: float) -> float:
    return float(_BREAK / _LINEAR + np.log(hertz / _BREAK) / _STEP) if hertz >= _BREAK else hertz / _LINEAR


def _to_hertz(mel: FloatArray) -> FloatArray:
    corner = _BREAK / _LINEAR
    return np.where(mel >= corner, _BREAK * np.exp(_STEP * (mel - corner)), mel * _LINEAR)
