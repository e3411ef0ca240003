"""Tabular encoders: every column becomes a token, or all of them one weighted sum."""

from __future__ import annotations

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.transforms.columns import TableRecipe
from medmm.types import Modality

_SPAN = 3.0  # standard deviations that bins cover, either way
_MISSING_OR_UNKNOWN = 2  # places before the words of a category


class ColumnTokens(nn.Module):
    """Columns to tokens as in the FT-Transformer (Gorishniy et al. 2021), then an MLP or layers of attention over them.

    A quantity is its value times a learned vector plus another, beside soft bins of its value, so that a threshold is
    nearly linear; a missing one has a vector of its own. A category is the vector of its word. Before training only the
    straight lines are there, in tokens and output: bins, words and MLP start at zero, so that few patients teach no noise.

    Args:
        recipe: Of the columns.
        width: Of every token.
        depth: Attention layers over the tokens; 0 leaves the MLP alone.
        heads: Attention heads.
        bins: Soft bins of a quantity.
        dropout: Within.
    """

    modality: Modality = "tabular"
    recomputable = "layers"

    def __init__(
        self, recipe: TableRecipe, *, width: int = 32, depth: int = 0, heads: int = 4, bins: int = 13, dropout: float = 0.1
    ) -> None:
        super().__init__()
        count, sizes = len(recipe.numbers), [len(c.words) + _MISSING_OR_UNKNOWN for c in recipe.categories]
        self.out_features = width
        self.bins = bins
        self.scale = nn.Parameter(torch.cat([torch.randn(count, 1, width) * 0.2, torch.zeros(count, bins, width)], dim=1))
        self.offset = nn.Parameter(torch.zeros(count, width))
        self.missing = nn.Parameter(torch.zeros(count, width))
        self.words = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for embedding in self.words:
            nn.init.zeros_(embedding.weight)  # type: ignore[arg-type]  # ModuleList forgets what it holds
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        columns = count + len(sizes)
        self.linear = nn.Linear(columns * width, width)
        self.mlp = nn.Sequential(nn.Linear(columns * width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width))
        for parameter in self.mlp[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, numbers: torch.Tensor, places: torch.Tensor) -> Encoded:
        """Encode (B, numbers) standardised, NaN where missing, and (B, categories) places in the vocabularies."""
        known = ~numbers.isnan()
        size = numbers.nan_to_num()[..., None]
        centres = torch.linspace(-_SPAN, _SPAN, self.bins, device=numbers.device)
        soft = (1 - (size.clamp(-_SPAN, _SPAN) - centres).abs() * (self.bins - 1) / (2 * _SPAN)).clamp_min(0)
        values = torch.einsum("bcf,cfw->bcw", torch.cat([size, soft], dim=2), self.scale) + self.offset
        tokens = [torch.where(known[..., None], values, self.missing)]
        tokens += [embed(places[:, i])[:, None] for i, embed in enumerate(self.words)]
        joined = torch.cat(tokens, dim=1)
        for layer in self.layers:
            joined = layer(joined)
        mask = torch.ones(joined.shape[:2], dtype=torch.bool, device=joined.device)
        flat = joined.flatten(1)
        return Encoded(joined, mask, self.linear(flat) + self.mlp(flat))


class LinearColumns(nn.Module):
    """Weighted sums of the columns, as a logistic regression forms them: what few patients can teach.

    A quantity counts in proportion to its standardised value, a missing one, and each word of a category, by a weight of its own.

    Args:
        recipe: Of the columns.
        width: Sums.
    """

    modality: Modality = "tabular"
    is_linear = True

    def __init__(self, recipe: TableRecipe, *, width: int = 16) -> None:
        super().__init__()
        self.out_features = width
        self.sizes = [len(c.words) + _MISSING_OR_UNKNOWN for c in recipe.categories]
        self.weights = nn.Linear(2 * len(recipe.numbers) + sum(self.sizes), width)

    def forward(self, numbers: torch.Tensor, places: torch.Tensor) -> Encoded:
        """Encode (B, numbers) standardised, NaN where missing, and (B, categories) places in the vocabularies."""
        words = [nn.functional.one_hot(places[:, i], size).to(numbers.dtype) for i, size in enumerate(self.sizes)]
        inputs = torch.cat([numbers.nan_to_num(), numbers.isnan().to(numbers.dtype), *words], dim=1)
        pooled = self.weights(inputs)
        return Encoded(pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool), pooled)
