"""Low-rank tensor fusion (Liu 2018): the outer product of all modalities, never written out."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class LowRankTensor(Fusion):
    """h = sum over r of w_r times the product over modalities of (W_m,r x_m + b_m,r), plus a bias.

    A weight tensor over the outer product of all (x_m, 1) of rank `rank`. An absent modality's factor is 1.

    Args:
        channels, modalities: See `Fusion`.
        rank: Of the weight tensor.
    """

    def __init__(self, channels: int, modalities: tuple[Modality, ...], rank: int = 8) -> None:
        super().__init__(channels, modalities)
        factors: dict[str, nn.Linear] = {name: nn.Linear(channels, rank * channels) for name in modalities}
        for factor in factors.values():
            nn.init.ones_(factor.bias)  # starts as a sum with small products, which can be trained at any depth
        self.factors = nn.ModuleDict(factors)
        self.ranks = nn.Parameter(torch.randn(rank, 1) * rank**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        shape = (-1, len(self.ranks), self.channels)
        product = torch.ones((), device=self.bias.device)
        for name, encoded in features.items():
            factor = self.factors[name](encoded.pooled).view(shape)
            product = product * torch.where(present[name][:, None, None], factor, torch.ones_like(factor))
        return (self.ranks * product).sum(1) + self.bias
