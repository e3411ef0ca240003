"""Audio encoders: what is said, from log-mel frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.transforms.audio import AudioRecipe
from medmm.types import Modality

_QUIET = 0.1  # added to the spread of a band, which may be that of silence
_ATTENDED, _STEPS = 4.0, 50.0  # weight of the attended mean, and steps whose sum weighs 1


class MelCnn(nn.Module):
    """Convolutions over time, each halving it; pooling joins maximum and mean over the frames there are.

    Args:
        recipe: Of the recordings.
        widths: Channels of the layers.
        dropout: After each layer.
    """

    modality: Modality = "audio"
    features = "mel"

    def __init__(self, recipe: AudioRecipe, *, widths: Sequence[int] = (64, 64, 96, 96), dropout: float = 0.1) -> None:
        super().__init__()
        sizes = [recipe.mels, *widths]
        self.out_features = sizes[-1]
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, stride=2, padding=2) for a, b in zip(sizes, widths, strict=False))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.drop = nn.Dropout(dropout)
        self.pool = nn.Linear(2 * sizes[-1], sizes[-1])

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, frames, mels); `mask` is True on real frames."""
        x = frames * mask[..., None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            mask = mask[:, ::2]
            x = self.drop(torch.relu(norm(layer(x.transpose(1, 2)).transpose(1, 2)))) * mask[..., None]
        strongest = x.masked_fill(~mask[..., None], torch.finfo(x.dtype).min).amax(1)
        mean = x.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return Encoded(x, mask, self.pool(torch.cat([strongest, mean], dim=1)))


class MelDilated(nn.Module):
    """Residual dilated convolutions that hear phrases, whose evidence adds up over a recording.

    Each band is first brought to mean 0 and variance 1 over the recording, so that voices and microphones differ less.
    Steps of 40 ms see 1.2 s around them (van den Oord et al. 2016). Pooling adds the sum over all steps to a mean by learned
    attention (Ilse et al. 2018): a finding may be said once, or in several ways.

    Args:
        recipe: Of the recordings.
        width: Channels.
        dilations: Of the residual convolutions, in steps.
        dropout: Before pooling.
    """

    modality: Modality = "audio"
    features = "mel"

    def __init__(self, recipe: AudioRecipe, *, width: int = 64, dilations: Sequence[int] = (1, 2, 4), dropout: float = 0.2) -> None:
        super().__init__()
        self.out_features = width
        self.first = nn.Conv1d(recipe.mels // 2, width, 5, stride=2, padding=2)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(_StepNorm(width) for _ in range(len(dilations) + 2))
        self.drop = nn.Dropout(dropout)
        self.attend = nn.Linear(width, 1)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, frames, mels); `mask` is True on real frames."""
        x = _halved(_standardised(frames, mask), mask)
        mask = mask[:, ::4]
        for layer, norm in zip([self.first, *self.layers], self.norms[:-1], strict=True):
            heard = torch.relu(norm(layer(x.transpose(1, 2)).transpose(1, 2), mask))
            x = heard if layer is self.first else x + heard
        x = self.drop(self.norms[-1](x, mask))
        weight = self.attend(x)[..., 0].masked_fill(~mask, torch.finfo(x.dtype).min).softmax(1)
        return Encoded(x, mask, _ATTENDED * torch.einsum("bt,btc->bc", weight, x) + x.sum(1) / _STEPS)


class _StepNorm(nn.Module):
    """Batch norm over the real steps alone; those that pad become 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, width) to the same; `mask` (B, T)."""
        real = steps[mask]
        self.norm.train(self.training and len(real) > 1)  # one step has no batch statistics
        real = self.norm(real)
        return torch.zeros_like(steps, dtype=real.dtype).masked_scatter(mask[..., None], real)


def _halved(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, T, mels) to (B, T / 2, mels / 2): the mean of every two frames, or of the one that is real, and of every two bands."""
    real = nn.functional.avg_pool1d(mask[:, None].to(frames.dtype), 2, ceil_mode=True)[:, 0, :, None]
    return nn.functional.avg_pool2d(frames, 2, ceil_mode=True) / real.clamp_min(0.5)


def _standardised(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, frames, mels) of mean 0 and variance 1 over the real frames of each recording, 0 on others."""
    real = mask[..., None].to(frames.dtype)
    count = real.sum(1, keepdim=True).clamp_min(1)
    centred = (frames - (frames * real).sum(1, keepdim=True) / count) * real
    return centred / ((centred.square().sum(1, keepdim=True) / count).sqrt() + _QUIET)
