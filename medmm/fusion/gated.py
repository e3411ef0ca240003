"""Gated multimodal unit (Arevalo 2017)."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class GatedUnit(Fusion):
    """h = sum over modalities of g_m tanh(W_m x_m), where gates g see all modalities and sum to 1 in every channel.

    With two modalities this is the gate z, 1 - z of Arevalo et al.; an absent modality's gate is 0, and that of
    an input that is trusted less, as a note that a machine wrote down, is smaller in proportion.
    """

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__(channels, modalities)
        self.value = nn.ModuleDict({name: nn.Linear(channels, channels) for name in modalities})
        self.gate = nn.Linear(channels * len(modalities), channels * len(modalities))

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        values = torch.stack([self.value[name](encoded.pooled).tanh() for name, encoded in features.items()], dim=1)
        asked = self.gate(torch.cat([encoded.pooled for encoded in features.values()], dim=1)).view_as(values)
        here = torch.stack([present[name] for name in features], dim=1)[..., None]  # (B, M, 1)
        trust = [torch.ones_like(present[name], dtype=asked.dtype) if e.trust is None else e.trust for name, e in features.items()]
        asked = asked + torch.stack(trust, dim=1).log()[..., None]
        joined: torch.Tensor = (asked.masked_fill(~here, -torch.inf).softmax(1) * values).sum(1)
        return joined
