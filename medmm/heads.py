"""Heads: a feature vector to one logit a class, and what all heads of a model say together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from medmm.types import Modality


class Head(nn.Module):
    """A linear classifier on one feature vector.

    Args:
        width: Channels of the feature.
        classes: Logits.
        dropout: On the feature.
    """

    def __init__(self, width: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """(B, width) to (B, classes)."""
        logits: torch.Tensor = self.linear(self.drop(feature))
        return logits


class Logits(NamedTuple):
    """Logits of a batch.

    Attributes:
        fused: (B, classes), the joint answer.
        single: For each modality (B, classes) of its own head; rows where it is absent mean nothing.
        further: Of each further task, the output of its head.
    """

    fused: torch.Tensor
    single: dict[Modality, torch.Tensor]
    further: tuple[torch.Tensor, ...] = ()
