"""Every modality projected into one shared space, where what is present is averaged."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion, count
from medmm.types import Modality


class SharedProjection(Fusion):
    """A projection for each modality, the mean over those present, then a hidden layer that they share.

    The mean keeps its scale however many modalities there are (Zaheer 2017, deep sets).
    """

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.project = nn.ModuleDict({n: nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels)) for n in modalities})
        self.mix = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        self.norm = nn.LayerNorm(channels)

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        terms = [self.project[name](encoded.pooled) * present[name][:, None] for name, encoded in features.items()]
        mean = torch.stack(terms).sum(0) / count(present, self.modalities)
        joined: torch.Tensor = self.norm(mean + self.mix(mean))
        return joined
