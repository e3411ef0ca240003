"""Scaled dot-product attention among the pooled features of the modalities (Vaswani 2017)."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion, count
from medmm.types import Modality


class ModalityAttention(Fusion):
    """Every modality present asks every other once; the answers pass a hidden layer and are averaged.

    Args:
        channels, modalities: See `Fusion`.
        heads: Attention heads.
    """

    def __init__(self, channels: int, modalities: tuple[Modality, ...], heads: int = 4) -> None:
        super().__init__(channels, modalities)
        self.kind = nn.Parameter(torch.randn(len(modalities), channels) * 0.02)
        self.attend = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mix = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        self.norm = nn.LayerNorm(channels)

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        here = torch.stack([present[name] for name in features], dim=1)  # (B, M)
        x = torch.stack([encoded.pooled for encoded in features.values()], dim=1) + self.kind
        answer, _ = self.attend(x, x, x, key_padding_mask=~here, need_weights=False)
        x = x + answer
        x = self.norm(x + self.mix(x))
        joined: torch.Tensor = (x * here[..., None]).sum(1) / count(present, self.modalities)
        return joined
