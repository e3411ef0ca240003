"""Random stretches and bands of training recordings hidden (SpecAugment, Park et al. 2019)."""

from __future__ import annotations

import numpy as np
import torch

from medmm.transforms.augment.choice import AudioChanges


def change_recording(frames: torch.Tensor, changes: AudioChanges, rng: np.random.Generator) -> torch.Tensor:
    """A changed copy of (frames, mels), or of (samples,), in which what is hidden has the mean of the recording."""
    hidden = torch.zeros_like(frames, dtype=torch.bool)
    for _ in range(changes.stretches):
        hidden[_stretch(len(frames), changes.stretch, rng)] = True
    for _ in range(changes.bands if frames.ndim > 1 else 0):
        hidden[:, _stretch(frames.shape[1], changes.band, rng)] = True
    return torch.where(hidden, frames.mean(), frames)


def _stretch(length: int, longest: float, rng: np.random.Generator) -> slice:
    width = int(rng.integers(int(longest * length) + 1))
    start = int(rng.integers(length - width + 1))
    return slice(start, start + width)
