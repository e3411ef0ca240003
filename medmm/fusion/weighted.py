"""z = F_t + alpha F_v: a weighted sum, its weights learned and reported."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class WeightedSum(Fusion):
    """Text counts as it is, every other modality by its own alpha; the head on top is linear, so logits add up.

    Without text the first modality counts as it is.

    Args:
        channels, modalities: See `Fusion`.
    """

    additive = True
    weighs_by = ("alpha",)
    per_class: ClassVar[bool] = False

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.reference: Modality = "text" if "text" in modalities else modalities[0]
        self.weighed = tuple(name for name in modalities if name != self.reference)
        self.alpha = nn.Parameter(torch.ones(len(self.weighed), *((channels,) if self.per_class else ())))

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        z = features[self.reference].pooled
        for name, alpha in zip(self.weighed, self.alpha, strict=True):
            z = z + alpha * features[name].pooled
        return z

    def numbers(self) -> dict[str, float]:
        """Every alpha, numbered by class where there are several of a modality."""
        rows = zip(self.weighed, self.alpha.detach(), strict=True)
        if self.alpha.ndim == 1:
            return {f"alpha/{name}": float(alpha) for name, alpha in rows}
        return {f"alpha/{name}/{k}": float(alpha) for name, row in rows for k, alpha in enumerate(row)}


class WeightedSumPerClass(WeightedSum):
    """The same sum of each modality's own logits, with an alpha for every class.

    Args:
        channels, modalities: See `Fusion`.
    """

    joins: ClassVar[Literal["features", "logits"]] = "logits"
    per_class = True
