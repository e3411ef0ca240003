"""Product of experts (Hinton 2002): modalities as independent witnesses, the prior counted once."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion, count
from medmm.types import Modality


class ProductOfExperts(Fusion):
    """log p(y | all) = sum over the n present of log p(y | m) - (n - 1) log p(y), up to a constant.

    By Bayes' rule where modalities are independent given the class. The prior is learned, because class weights of
    the loss change the one that each modality's head carries; alone, a modality's logits are its own.
    """

    joins: ClassVar[Literal["features", "logits"]] = "logits"
    additive = True

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.prior = nn.Parameter(torch.zeros(channels))

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels) logits."""
        total = torch.stack([encoded.pooled for encoded in features.values()]).sum(0)
        return total - (count(present, self.modalities) - 1) * self.prior
