"""Recurrent encoders of text and of audio: LSTM or GRU in both directions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.encoders.text import NumberEmbedding
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.text import TextRecipe
from medmm.types import Modality

Cell = Literal["lstm", "gru"]
_CELLS: dict[Cell, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class _BothWays(nn.Module):
    """Reads real steps only, forwards and backwards; pooling joins maximum and mean over them."""

    def __init__(self, features: int, width: int, depth: int, dropout: float, cell: Cell) -> None:
        super().__init__()
        self.net = _CELLS[cell](
            features, width // 2, depth, batch_first=True, bidirectional=True, dropout=dropout if depth > 1 else 0.0
        )
        self.drop = nn.Dropout(dropout)
        self.pool = nn.Linear(2 * width, width)

    def forward(self, steps: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """(B, T, features) to (B, T, width)."""
        lengths = mask.sum(1).clamp_min(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.drop(steps), lengths.cpu(), batch_first=True, enforce_sorted=False)
        x, _ = nn.utils.rnn.pad_packed_sequence(self.net(packed)[0], batch_first=True, total_length=steps.shape[1])
        strongest = x.masked_fill(~mask[..., None], torch.finfo(x.dtype).min).amax(1)
        mean = (x * mask[..., None]).sum(1) / lengths[:, None]
        return Encoded(x, mask, self.pool(torch.cat([strongest, mean], dim=1)))


class NumberRecurrent(nn.Module):
    """LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014) over a note, with number values added to its words.

    Args:
        recipe: Of the notes.
        cell: `lstm` or `gru`.
        width: Channels of both directions together, even.
        depth: Layers.
        dropout: On words and between layers.
    """

    modality: Modality = "text"

    def __init__(self, recipe: TextRecipe, *, cell: Cell = "lstm", width: int = 64, depth: int = 1, dropout: float = 0.4) -> None:
        super().__init__()
        self.out_features = width
        self.words = nn.Embedding(recipe.vocabulary, width)
        self.numbers = NumberEmbedding(width)
        self.read = _BothWays(width, width, depth, dropout, cell)
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, is_number: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, T) notes; `mask` is True on real tokens."""
        encoded: Encoded = self.read(self.words(ids) + self.numbers(values) * is_number[..., None], mask)
        return encoded


class MelRecurrent(nn.Module):
    """LSTM or GRU over log-mel frames, several joined to one step.

    Args:
        recipe: Of the recordings.
        cell: `gru` or `lstm`.
        width: Channels of both directions together, even.
        depth: Layers.
        joined: Frames of one step.
        dropout: On frames and between layers.
    """

    modality: Modality = "audio"
    features = "mel"

    def __init__(
        self, recipe: AudioRecipe, *, cell: Cell = "gru", width: int = 64, depth: int = 1, joined: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.out_features = width
        self.joined = joined
        self.project = nn.Linear(recipe.mels * joined, width)
        self.read = _BothWays(width, width, depth, dropout, cell)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, frames, mels); `mask` is True on real frames."""
        missing = -frames.shape[1] % self.joined
        frames = nn.functional.pad(frames * mask[..., None], (0, 0, 0, missing))
        steps = frames.reshape(len(frames), -1, self.project.in_features)  # frames of a step lie side by side
        encoded: Encoded = self.read(self.project(steps), mask[:, :: self.joined])
        return encoded
