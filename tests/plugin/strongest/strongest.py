"""A fusion that is not medmm's: in every channel the strongest of the modalities present."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class Strongest(Fusion):
    """The maximum over the modalities present of a hidden layer of each."""

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.hidden = nn.ModuleDict({name: nn.Linear(channels, 2 * channels) for name in modalities})
        self.out = nn.Linear(2 * channels, channels)

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        sides = [self.hidden[name](e.pooled).masked_fill(~present[name][:, None], -torch.inf) for name, e in features.items()]
        joined: torch.Tensor = self.out(torch.stack(sides).amax(0).relu())
        return joined
