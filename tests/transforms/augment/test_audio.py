"""Recordings: stretches and bands, no wider than asked, set to the mean."""

from __future__ import annotations

import numpy as np
import torch

from medmm.transforms.augment.audio import change_recording
from medmm.transforms.augment.choice import AudioChanges

FRAMES = torch.rand(200, 80)


def hidden(changes: AudioChanges, seed: int, frames: torch.Tensor = FRAMES) -> torch.Tensor:
    out = change_recording(frames, changes, np.random.default_rng(seed))
    different = out != frames
    assert torch.allclose(out[different], frames.mean())
    return different


def test_a_stretch_hides_all_bands_of_neighbouring_frames() -> None:
    widths = []
    for seed in range(40):
        rows = hidden(AudioChanges(stretches=1, stretch=0.1), seed).all(1)
        assert torch.equal(rows, hidden(AudioChanges(stretches=1, stretch=0.1), seed).any(1))
        widths.append(int(rows.sum()))
        assert int(rows.long().diff().abs().sum()) <= 2  # one run
    assert 0 < max(widths) <= 20


def test_a_band_hides_neighbouring_mels_throughout() -> None:
    for seed in range(20):
        columns = hidden(AudioChanges(bands=1, band=0.2), seed).all(0)
        assert int(columns.sum()) <= 16
        assert int(columns.long().diff().abs().sum()) <= 2


def test_a_waveform_has_stretches_alone() -> None:
    wave = torch.randn(1000)
    assert not hidden(AudioChanges(bands=3), 0, wave).any()
    assert any(hidden(AudioChanges(stretches=1), seed, wave).any() for seed in range(5))


def test_nothing_is_hidden_when_nothing_was_asked() -> None:
    assert not hidden(AudioChanges(), 0).any()
