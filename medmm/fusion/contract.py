"""What every fusion is: absent modalities blanked once, for all of them, before they are joined."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.errors import MissingModalityError
from medmm.fusion import Features, Present
from medmm.types import Modality


class Fusion(nn.Module):
    """Joins the modalities of B samples; a subclass says how in `join`.

    Args:
        channels: Of what is joined and of the result: the model's width where features are joined, its classes
            where logits are.
        modalities: What the model reads, in canonical order.

    Attributes:
        joins: `features` go through the model's head afterwards; `logits` of each modality's own head
            become the answer, and stand in `Encoded.pooled`.
        additive: Whether the answer's logits are a sum with one term a modality, so that no interaction of
            modalities can be learned.
        weighs_by: Names of parameters that say how much a modality counts, whatever their shape; weight decay would
            make every modality but one count less.
    """

    joins: ClassVar[Literal["features", "logits"]] = "features"
    additive: ClassVar[bool] = False
    weighs_by: ClassVar[tuple[str, ...]] = ()

    def __init__(self, channels: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__()
        self.channels, self.modalities = channels, modalities

    def forward(self, features: Features, present: Present) -> torch.Tensor:
        """Join what is present.

        Args:
            features: For each modality its tokens and pooled vector over all B samples, anything where absent.
            present: For each modality (B,) bool.

        Returns:
            (B, channels).

        Raises:
            MissingModalityError: If a sample has nothing.
        """
        if not bool(torch.stack([present[name] for name in self.modalities]).any(0).all()):
            msg = f"Expected {' or '.join(self.modalities)} in every sample to fuse; a sample has none. Leave such samples out."
            raise MissingModalityError(msg)
        return self.join({name: _blanked(features[name], present[name]) for name in self.modalities}, present)

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels) from features that are zero, and tokens that are masked, where a modality is absent."""
        raise NotImplementedError

    def numbers(self) -> dict[str, float]:
        """What was learned in single numbers worth reading, for logs and the card."""
        return {}


def count(present: Present, modalities: tuple[Modality, ...]) -> torch.Tensor:
    """(B, 1) how many of the modalities each sample has."""
    return torch.stack([present[name] for name in modalities]).sum(0)[:, None]


def mean_present(features: Features, present: Present) -> torch.Tensor:
    """(B, width) mean pooled vector of the modalities each sample has."""
    total = torch.stack([encoded.pooled.masked_fill(~present[name][:, None], 0) for name, encoded in features.items()]).sum(0)
    return total / count(present, tuple(features))


def _blanked(encoded: Encoded, present: torch.Tensor) -> Encoded:
    tokens = encoded.tokens.masked_fill(~present[:, None, None], 0)
    pooled = encoded.pooled.masked_fill(~present[:, None], 0)
    return encoded._replace(tokens=tokens, mask=encoded.mask & present[:, None], pooled=pooled)
