"""Recurrent encoders."""

from __future__ import annotations

import pytest
import torch

from medmm.encoders import ENCODERS
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.text import TextRecipe

CELLS = ("lstm", "gru")


def notes(count: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randint(0, 50, (count, length)), torch.rand(count, length) * 90, torch.rand(count, length) < 0.3


@pytest.mark.parametrize("cell", CELLS)
def test_padding_does_not_change_a_note_and_its_numbers_count(cell: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS["text"].get("recurrent")(TextRecipe(50, 64), cell=cell, width=16, depth=2).eval()
    ids, values, is_number = notes(2, 12)
    mask = torch.arange(12) < torch.tensor([[12], [5]])
    with torch.no_grad():
        together = encoder(ids, values, is_number, mask)
        alone = encoder(ids[1:, :5], values[1:, :5], is_number[1:, :5], mask[1:, :5])
        other = encoder(ids, values + 20, torch.ones_like(is_number), mask)
    assert torch.allclose(together.pooled[1:], alone.pooled, atol=1e-6)
    assert torch.allclose(together.tokens[1:, :5], alone.tokens, atol=1e-6)
    assert (together.pooled - other.pooled).norm() > 0.01


@pytest.mark.parametrize("cell", CELLS)
def test_padding_does_not_change_a_recording(cell: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS["audio"].get("recurrent")(AudioRecipe(), cell=cell, width=16).eval()
    frames = torch.randn(2, 31, 80)
    mask = torch.arange(31) < torch.tensor([[31], [10]])
    with torch.no_grad():
        together, alone = encoder(frames, mask), encoder(frames[1:, :10], mask[1:, :10])
    assert together.tokens.shape == (2, 8, 16)
    assert together.mask.sum(1).tolist() == [8, 3]
    assert torch.allclose(together.pooled[1:], alone.pooled, atol=1e-6)
