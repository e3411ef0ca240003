"""Concatenation and a hidden layer."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class Concatenation(Fusion):
    """Pooled features side by side, a learned vector in place of an absent one, then a hidden layer."""

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(channels)) for name in modalities})
        self.mix = nn.Sequential(nn.Linear(channels * len(modalities), channels), nn.GELU(), nn.LayerNorm(channels))

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        sides = [torch.where(present[name][:, None], encoded.pooled, self.absent[name]) for name, encoded in features.items()]
        mixed: torch.Tensor = self.mix(torch.cat(sides, dim=1))
        return mixed
