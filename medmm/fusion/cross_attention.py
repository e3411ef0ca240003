"""Cross-attention from each modality's summary to the tokens of the others (Lu 2019, ViLBERT, in its smallest form)."""

from __future__ import annotations

import torch
from torch import nn

from medmm.fusion import Features, Present
from medmm.fusion.concat import Concatenation
from medmm.fusion.contract import Fusion
from medmm.types import Modality


class CrossAttention(Fusion):
    """Each modality's summary asks the tokens of the others; the answers are joined as in `concat`.

    Args:
        channels, modalities: See `Fusion`.
        heads: Attention heads.
    """

    def __init__(self, channels: int, modalities: tuple[Modality, ...], heads: int = 4) -> None:
        super().__init__(channels, modalities)
        self.attend = nn.ModuleDict({name: nn.MultiheadAttention(channels, heads, batch_first=True) for name in modalities})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(channels) for name in modalities})
        self.concat = Concatenation(channels, modalities)

    def join(self, features: Features, present: Present) -> torch.Tensor:
        """(B, channels)."""
        if len(features) == 1:
            return self.concat.join(features, present)
        asked: Features = {}
        for name, encoded in features.items():
            others = [other for key, other in features.items() if key != name]
            tokens, visible = torch.cat([o.tokens for o in others], dim=1), torch.cat([o.mask for o in others], dim=1)
            answer = self._ask(name, encoded.pooled, tokens, visible)
            asked[name] = encoded._replace(pooled=self.norms[name](encoded.pooled + answer))
        return self.concat.join(asked, present)

    def _ask(self, name: Modality, query: torch.Tensor, tokens: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """(B, channels) attention of the query over visible tokens; zero where none is visible."""
        anything = visible.any(1)
        safe = visible | ~anything[:, None]  # attention over nothing is NaN; its result is dropped below
        answer, _ = self.attend[name](query[:, None], tokens, tokens, key_padding_mask=~safe, need_weights=False)
        found: torch.Tensor = answer[:, 0] * anything[:, None]
        return found
