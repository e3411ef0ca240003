"""Any Hugging Face speech encoder: on log-mel frames as Whisper, or on the waveform as wav2vec 2.0."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.encoders.text import OF_ITS_FOLDER, encoder_of
from medmm.errors import TaskError
from medmm.transforms.audio import AudioRecipe
from medmm.types import Modality
from medmm.weights import refuse_not_finite

_RANGE = 2.0  # of normalised log-mel values; silence lies this far below the loudest


def read_speech(source: str) -> dict[str, Any]:
    """The configuration of a Hugging Face speech encoder, as a dictionary.

    Args:
        source: Local folder in hub layout, or hub name.

    Raises:
        TaskError: If it cannot be read.
    """
    from transformers import AutoConfig

    try:
        config: dict[str, Any] = AutoConfig.from_pretrained(source, trust_remote_code=False).to_dict()
    except Exception:  # foreign files: parsers throw anything
        msg = "Expected a Hugging Face speech encoder as audio_source: a folder or hub name with config.json; it could not be read."
        raise TaskError(msg) from None
    return {key: value for key, value in config.items() if key not in OF_ITS_FOLDER}


class _Speech(nn.Module):
    modality: Modality = "audio"
    recomputable = "net"

    def __init__(self, config: dict[str, Any]) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        kind = {key: value for key, value in config.items() if key != "model_type"}
        self.net = encoder_of(AutoModel.from_config(AutoConfig.for_model(config["model_type"], **kind), trust_remote_code=False))
        self.net.config.apply_spec_augment = False  # a recording is varied where samples are
        self.out_features = int(self.net.config.hidden_size)

    def load_pretrained(self, source: str) -> None:
        """Take the weights of a local folder or hub repository; safetensors only, no remote code.

        Raises:
            TaskError: If they cannot be read, do not fill the encoder, or are not finite.
        """
        from transformers import AutoModel

        try:
            pretrained, found = AutoModel.from_pretrained(
                source, trust_remote_code=False, use_safetensors=True, output_loading_info=True
            )
            state = encoder_of(pretrained).state_dict()
            self.net.load_state_dict(state)
        except Exception:  # foreign files: parsers throw anything
            msg = "Expected a Hugging Face speech encoder of this configuration in safetensors; it could not be read."
            raise TaskError(msg) from None
        missing = sorted(name for name in found["missing_keys"] if not name.startswith("decoder."))
        if missing:
            msg = f"Expected pretrained weights for the whole speech encoder; missing {missing[:3]}. They would stay random."
            raise TaskError(msg)
        refuse_not_finite(state, self.net.state_dict(), TaskError)


class HuggingFaceMel(_Speech):
    """An encoder of log-mel frames, as that of Whisper (Radford et al. 2022).

    Args:
        recipe: Of the recordings.
        config: The `transformers` configuration as a dictionary; its weights are random until `load_pretrained`.

    Raises:
        ValueError: If it is of another kind of encoder, or the recipe's mels or seconds are not those of the configuration.
    """

    features = "mel"

    def __init__(self, recipe: AudioRecipe, config: dict[str, Any]) -> None:
        super().__init__(config)
        if not hasattr(self.net.config, "num_mel_bins"):
            msg = f"Expected an encoder of log-mel frames; {config['model_type']} reads something else. Try huggingface_waveform."
            raise ValueError(msg)
        self.frames = 2 * int(self.net.config.max_source_positions)
        mels, longest = int(self.net.config.num_mel_bins), self.frames * recipe.hop / recipe.rate
        if recipe.mels != mels or recipe.seconds > longest:
            msg = f"Expected recordings of {mels} mels and at most {longest:g} s; got {recipe.mels} and {recipe.seconds:g} s."
            raise ValueError(msg)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, frames, mels); what is beyond a recording is shown as silence, as in pretraining."""
        loudest = frames.masked_fill(~mask[..., None], -torch.inf).amax((1, 2), keepdim=True)
        heard = torch.where(mask[..., None], frames, loudest - _RANGE)
        silence = (loudest - _RANGE).expand(-1, self.frames - frames.shape[1], frames.shape[2])
        tokens = self.net(torch.cat([heard, silence], dim=1).transpose(1, 2)).last_hidden_state
        kept = mask[:, ::2]
        tokens = tokens[:, : kept.shape[1]]
        return Encoded(tokens, kept, _mean(tokens, kept))


class HuggingFaceWaveform(_Speech):
    """An encoder of samples, as wav2vec 2.0 (Baevski et al. 2020).

    Each recording is encoded by itself, because these networks norm over time and would see the padding.

    Args:
        recipe: Of the recordings.
        config: The `transformers` configuration as a dictionary; its weights are random until `load_pretrained`.

    Raises:
        ValueError: If it is of another kind of encoder.
    """

    features = "waveform"

    def __init__(self, recipe: AudioRecipe, config: dict[str, Any]) -> None:
        super().__init__(config)
        if not hasattr(self.net.config, "conv_kernel"):
            msg = f"Expected an encoder of samples; {config['model_type']} reads something else. Try huggingface_mel."
            raise ValueError(msg)
        self.least = 1
        for kernel, stride in zip(reversed(self.net.config.conv_kernel), reversed(self.net.config.conv_stride), strict=True):
            self.least = (self.least - 1) * stride + kernel  # samples that make one token

    def forward(self, samples: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, samples); `mask` is True on real ones. One too short for a token is padded with silence."""
        rows = [row[: max(int(length), self.least)] for row, length in zip(samples, mask.sum(1), strict=True)]
        rows = [nn.functional.pad(row, (0, max(0, self.least - len(row)))) for row in rows]
        parts = [self.net(row[None]).last_hidden_state[0] for row in rows]
        tokens = nn.utils.rnn.pad_sequence(parts, batch_first=True)
        lengths = torch.tensor([len(part) for part in parts], device=tokens.device)
        kept = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        return Encoded(tokens, kept, _mean(tokens, kept))


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)
