"""Recordings to features: the numbers of Whisper's own feature extractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from medmm.study import Recording, Study
from medmm.transforms.audio import AudioRecipe, mel_filters

RATE = 16_000


def speech(seconds: float, seed: int = 0) -> Recording:
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * (150 + 300 * time) * time) * np.exp(-((time - 0.5) ** 2)) + rng.normal(0, 0.01, len(time))
    return Recording((0.3 * wave).astype(np.float32), RATE)


@pytest.mark.parametrize("mels", [80, 128])
def test_filters_and_features_are_those_of_whisper(mels: int) -> None:
    peer = WhisperFeatureExtractor(feature_size=mels)
    np.testing.assert_allclose(mel_filters(mels, 400, RATE), peer.mel_filters.T, atol=1e-8)
    recording = speech(2.0)
    (found,), notices = AudioRecipe(mels=mels).read(Study(recording=recording))
    expected = peer(recording.samples, sampling_rate=RATE, padding="do_not_pad", return_tensors="np").input_features[0].T
    assert found.shape == expected.shape == (200, mels)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)
    assert notices == []


def test_a_waveform_has_zero_mean_and_unit_variance() -> None:
    (found,), _ = AudioRecipe("waveform").read(Study(recording=speech(1.0)))
    assert found.shape == (RATE,)
    assert (float(found.mean()), float(found.std())) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-3))


def test_what_is_too_long_is_cut_and_said() -> None:
    (found,), notices = AudioRecipe(seconds=1.0).read(Study(recording=speech(3.0)))
    assert len(found) == 100
    assert [n.code for n in notices] == ["W_AUDIO_CUT"]


@pytest.mark.parametrize("samples", [1, 100, 201, 400])
def test_a_moment_of_sound_is_read(samples: int) -> None:
    (found,), _ = AudioRecipe().read(Study(recording=Recording(np.full(samples, 0.1, np.float32), RATE)))
    assert len(found) >= 1
    assert bool(found.isfinite().all())


def test_a_batch_is_padded_and_masked() -> None:
    recipe = AudioRecipe()
    one, two = (recipe.read(Study(recording=speech(s)))[0] for s in (0.5, 1.0))
    frames, mask = recipe.stack([one, None, two])
    assert frames.shape == (3, 100, 80)
    assert mask.sum(1).tolist() == [50, 0, 100]
    assert torch.equal(frames[0, :50], one[0])
    assert not frames[0, 50:].any()


def test_a_recording_of_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16000 samples a second; got 8000"):
        AudioRecipe().read(Study(recording=Recording(np.zeros(8000, np.float32), 8000)))
