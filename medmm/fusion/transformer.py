"""One transformer over the tokens of all modalities (Li 2019, VisualBERT)."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class JointTransformer(Fusion):
    """A summary token and every modality's pooled vector and tokens, each marked with its modality, attend to each other.

    Args:
        channels, modalities: See `Fusion`.
        heads: Attention heads.
        depth: Layers.
        dropout: Within layers.
    """

    def __init__(
        self, channels: int, modalities: tuple[Modality, ...], heads: int = 4, depth: int = 1, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, modalities)
        self.summary = nn.Parameter(torch.randn(channels) * 0.02)
        self.kind = nn.ParameterDict({name: nn.Parameter(torch.randn(channels) * 0.02) for name in modalities})
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, heads, 2 * channels, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels)

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        size = len(next(iter(features.values())).pooled)
        tokens, visible = [self.summary.expand(size, 1, -1)], [torch.ones_like(present[self.modalities[0]])[:, None]]
        for name, encoded in features.items():
            tokens.append(torch.cat([encoded.pooled[:, None], encoded.tokens], dim=1) + self.kind[name])
            visible.append(torch.cat([present[name][:, None], encoded.mask], dim=1))
        x, hidden = torch.cat(tokens, dim=1), ~torch.cat(visible, dim=1)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=hidden)
        joined: torch.Tensor = self.norm(x[:, 0])
        return joined
