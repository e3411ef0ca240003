"""Hugging Face speech encoders, held against transformers' own feature extractors and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medmm.encoders.speech import HuggingFaceMel, HuggingFaceWaveform
from medmm.errors import TaskError
from medmm.study import Recording, Study
from medmm.transforms.audio import AudioRecipe

WHISPER: dict[str, Any] = {
    "model_type": "whisper", "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 80, "max_source_positions": 100,
    "vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
WAV2VEC2: dict[str, Any] = {
    "model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [5, 4], "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2,
}  # fmt: skip


def samples(seconds: float, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).standard_normal(int(seconds * 16_000)) * 0.1).astype(np.float32)


def stacked(recipe: AudioRecipe, *recordings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return recipe.stack([recipe.read(Study(recording=Recording(r, 16_000)))[0] for r in recordings])


def saved(config: dict[str, Any], folder: Path) -> Any:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    kind = {key: value for key, value in config.items() if key != "model_type"}
    model = AutoModel.from_config(AutoConfig.for_model(config["model_type"], **kind)).eval()
    model.save_pretrained(folder)
    return model


def test_whisper_says_what_transformers_says_of_the_same_recording(tmp_path: Path) -> None:
    from transformers import WhisperFeatureExtractor

    reference, recipe = saved(WHISPER, tmp_path), AudioRecipe(seconds=2.0)
    encoder = HuggingFaceMel(recipe, WHISPER).eval()
    encoder.load_pretrained(str(tmp_path))
    features = WhisperFeatureExtractor(chunk_length=2)(samples(1.0), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        expected = reference.get_encoder()(features.input_features).last_hidden_state[:, :50]
        encoded = encoder(*stacked(recipe, samples(1.0)))
    assert encoded.tokens.shape == expected.shape
    assert (encoded.tokens - expected).abs().mean() < 0.01  # frames at the very end see a mirror here, silence there


def test_wav2vec2_says_what_transformers_says_whatever_stands_beside(tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    reference, recipe = saved(WAV2VEC2, tmp_path), AudioRecipe("waveform")
    encoder = HuggingFaceWaveform(recipe, WAV2VEC2).eval()
    encoder.load_pretrained(str(tmp_path))
    inputs = Wav2Vec2FeatureExtractor()(samples(0.5), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        expected = reference(inputs.input_values).last_hidden_state
        encoded = encoder(*stacked(recipe, samples(0.5), samples(1.0, seed=1)))
    kept = int(encoded.mask[0].sum())
    assert kept == expected.shape[1]
    assert torch.allclose(encoded.tokens[0, :kept], expected[0], atol=1e-4)
    assert torch.allclose(encoded.pooled[0], expected[0].mean(0), atol=1e-4)


def test_a_click_is_encoded_too() -> None:
    encoder = HuggingFaceWaveform(AudioRecipe("waveform"), WAV2VEC2).eval()
    assert torch.isfinite(encoder(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool)).pooled).all()


def test_padding_does_not_change_what_whisper_says() -> None:
    torch.manual_seed(0)
    recipe = AudioRecipe(seconds=2.0)
    encoder = HuggingFaceMel(recipe, WHISPER).eval()
    with torch.no_grad():
        alone = encoder(*stacked(recipe, samples(0.7))).pooled
        together = encoder(*stacked(recipe, samples(0.7), samples(1.9, seed=1))).pooled[:1]
    assert torch.allclose(alone, together, atol=1e-5)


def test_a_recipe_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 2 s"):
        HuggingFaceMel(AudioRecipe(), WHISPER)


def test_other_weights_are_refused_without_a_path(tmp_path: Path) -> None:
    saved(WAV2VEC2, tmp_path)
    with pytest.raises(TaskError) as caught:
        HuggingFaceMel(AudioRecipe(seconds=2.0), WHISPER).load_pretrained(str(tmp_path))
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    reference = saved(WAV2VEC2, tmp_path)
    reference.encoder.layers[1].final_layer_norm.weight.data[0] = value
    reference.save_pretrained(tmp_path)
    with pytest.raises(TaskError, match=r"layers\.1\.final_layer_norm\.weight holds NaN, infinity"):
        HuggingFaceWaveform(AudioRecipe(), WAV2VEC2).load_pretrained(str(tmp_path))
