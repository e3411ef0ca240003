"""Fusion: features of the modalities present to one vector.

Contract: `forward(features, present)` takes, for each modality, an `Encoded` of `width` channels
over all B samples (zeros where absent) and (B,) masks; it returns (B, width). What stands in for
an absent modality must not matter. Every fusion works with any subset that is not empty.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.registry import Registry
from medmm.types import MODALITIES, Modality

Features = dict[Modality, Encoded]
Present = dict[Modality, torch.Tensor]

FUSIONS: Registry[Callable[..., nn.Module]] = Registry("fusions")


@FUSIONS.register("weighted")
class WeightedSum(nn.Module):
    """z = F_t + alpha F_v with alpha learned; the head on top is linear, so logits add up.

    Args:
        width: Channels of every feature.
        modalities: What the model reads.
    """

    def __init__(self, width: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(()))

    def forward(self, features: Features, present: Present) -> torch.Tensor:
        """(B, width)."""
        weights = {"text": torch.ones_like(self.alpha), "image": self.alpha}
        terms = [weights[name] * encoded.pooled * present[name][:, None] for name, encoded in features.items()]
        return torch.stack(terms).sum(0)


@FUSIONS.register("concat")
class Concatenation(nn.Module):
    """Pooled features side by side, a learned vector in place of an absent one, then a hidden layer.

    Args:
        width: Channels of every feature.
        modalities: What the model reads.
    """

    def __init__(self, width: int, modalities: tuple[Modality, ...]) -> None:
        super().__init__()
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in modalities})
        self.mix = nn.Sequential(nn.Linear(width * len(modalities), width), nn.GELU(), nn.LayerNorm(width))

    def forward(self, features: Features, present: Present) -> torch.Tensor:
        """(B, width)."""
        sides = [torch.where(present[name][:, None], encoded.pooled, self.absent[name]) for name, encoded in features.items()]
        mixed: torch.Tensor = self.mix(torch.cat(sides, dim=1))
        return mixed


@FUSIONS.register("cross_attention")
class CrossAttention(nn.Module):
    """Each modality's summary asks the tokens of the others; the answers are joined as in `concat`.

    Args:
        width: Channels of every feature.
        modalities: What the model reads.
        heads: Attention heads.
    """

    def __init__(self, width: int, modalities: tuple[Modality, ...], heads: int = 4) -> None:
        super().__init__()
        self.attend = nn.ModuleDict({name: nn.MultiheadAttention(width, heads, batch_first=True) for name in modalities})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in modalities})
        self.join = Concatenation(width, modalities)

    def forward(self, features: Features, present: Present) -> torch.Tensor:
        """(B, width)."""
        joined: Features = {}
        for name, encoded in features.items():
            others = [other for other in features if other != name]
            if not others:
                joined[name] = encoded
                continue
            tokens = torch.cat([features[o].tokens for o in others], dim=1)
            visible = torch.cat([features[o].mask & present[o][:, None] for o in others], dim=1)
            answer = self._ask(name, encoded.pooled, tokens, visible)
            joined[name] = encoded._replace(pooled=self.norms[name](encoded.pooled + answer))
        out: torch.Tensor = self.join(joined, present)
        return out

    def _ask(self, name: Modality, query: torch.Tensor, tokens: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """(B, width) attention of the query over visible tokens; zero where none is visible."""
        anything = visible.any(1)
        safe = visible | ~anything[:, None]  # attention over nothing is NaN; its result is dropped below
        answer, _ = self.attend[name](query[:, None], tokens, tokens, key_padding_mask=~safe, need_weights=False)
        found: torch.Tensor = answer[:, 0] * anything[:, None]
        return found


def in_order(features: Features) -> Features:
    """The same features in the canonical order of modalities."""
    return {name: features[name] for name in MODALITIES if name in features}
