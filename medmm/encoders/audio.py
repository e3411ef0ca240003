"""Audio encoders: what is said, from log-mel frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.transforms.audio import AudioRecipe
from medmm.types import Modality


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
