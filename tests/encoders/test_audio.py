"""Encoders of log-mel frames: padding means nothing, and neither does the gain of a microphone to `dilated`."""

from __future__ import annotations

import pytest
import torch

from medmm.encoders import ENCODERS
from medmm.transforms.audio import AudioRecipe

NAMES = ("cnn", "dilated")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [9, 10, 11, 12])
def test_padding_does_not_change_a_recording(name: str, length: int) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS["audio"].get(name)(AudioRecipe()).eval()
    frames = torch.randn(2, 31, 80)
    mask = torch.arange(31) < torch.tensor([[31], [length]])
    with torch.no_grad():
        together, alone = encoder(frames, mask), encoder(frames[1:, :length], mask[1:, :length])
    kept = alone.mask.sum()
    assert together.mask.sum(1)[1] == kept
    assert torch.allclose(together.pooled[1:], alone.pooled, atol=1e-5)
    assert torch.allclose(together.tokens[1, :kept], alone.tokens[0, :kept], atol=1e-5)


def test_what_pads_does_not_count_in_the_statistics_of_a_batch() -> None:
    torch.manual_seed(0)
    one, other = (ENCODERS["audio"].get("dilated")(AudioRecipe()).train() for _ in range(2))
    other.load_state_dict(one.state_dict())
    frames = torch.randn(2, 40, 80)
    one(frames, torch.ones(2, 40, dtype=torch.bool))
    longer = torch.cat([frames, torch.randn(2, 40, 80)], dim=1)
    other(longer, (torch.arange(80) < 40).expand(2, 80))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, msg=name)


def test_a_louder_microphone_says_the_same() -> None:
    torch.manual_seed(0)
    encoder = ENCODERS["audio"].get("dilated")(AudioRecipe()).eval()
    frames, mask = torch.randn(1, 60, 80), torch.ones(1, 60, dtype=torch.bool)
    with torch.no_grad():
        assert torch.allclose(encoder(frames, mask).pooled, encoder(frames + torch.linspace(-3, 3, 80), mask).pooled, atol=1e-4)


def test_a_recording_of_one_step_trains() -> None:
    encoder = ENCODERS["audio"].get("dilated")(AudioRecipe()).train()
    found = encoder(torch.randn(1, 3, 80), torch.ones(1, 3, dtype=torch.bool))
    found.pooled.sum().backward()
    assert torch.isfinite(found.pooled).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in encoder.parameters())
