"""Several images of one study to one answer of the image side."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.types import Modality


class OverVolumes(nn.Module):
    """One encoder for each image, and attention pooling over the images of a study (Ilse et al. 2018).

    Args:
        encoder: Image encoder.
    """

    modality: Modality = "image"

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.out_features = int(encoder.out_features)
        self.score = nn.Sequential(nn.Linear(self.out_features, self.out_features), nn.Tanh(), nn.Linear(self.out_features, 1))

    def forward(self, images: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, V, C, R, A, S); `mask` (B, V) is True on real images. Tokens are those of all images."""
        one = self.encoder(images[mask])
        tokens = _placed(one.tokens, mask)
        visible = _placed(one.mask, mask)
        pooled = _placed(one.pooled, mask)
        scores = self.score(pooled).squeeze(2).masked_fill(~mask, -torch.inf)
        weights = scores.softmax(1).to(pooled.dtype)
        return Encoded(tokens.flatten(1, 2), visible.flatten(1, 2), (weights[..., None] * pooled).sum(1))


def own_encoder(encoder: Any) -> Any:
    """An encoder without what pools several images of a study."""
    return encoder.encoder if isinstance(encoder, OverVolumes) else encoder


def _placed(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    full = torch.zeros(*mask.shape, *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    full[mask] = rows
    return full
