"""Late fusion: the average of each modality's calibrated logits."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion, count
from medmm.types import Modality


class LateAverage(Fusion):
    """Mean over the modalities present of logits / T_m + b_m, with temperature and bias fitted with the model."""

    joins: ClassVar[Literal["features", "logits"]] = "logits"
    additive = True

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.log_temperature = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in modalities})
        self.bias = nn.ParameterDict({name: nn.Parameter(torch.zeros(channels)) for name in modalities})

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels) logits."""
        terms = [
            (encoded.pooled / self.log_temperature[name].exp() + self.bias[name]) * present[name][:, None]
            for name, encoded in features.items()
        ]
        return torch.stack(terms).sum(0) / count(present, self.modalities)

    def numbers(self) -> dict[str, float]:
        """Every temperature."""
        return {f"temperature/{name}": float(self.log_temperature[name].detach().exp()) for name in self.modalities}
