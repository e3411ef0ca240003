"""Augmentation: seeded, gentle, and never mirrored."""

from __future__ import annotations

import pytest
import torch

from medmm.transforms.augment import ImageAugmentation
from medmm.transforms.volume import VolumeRecipe

RECIPE = VolumeRecipe((24, 24, 24), (3.0, 3.0, 3.0))


def marked_left() -> torch.Tensor:
    image = torch.full((1, 24, 24, 24), -1000.0)
    image[0, 2:6, 10:14, 10:14] = 1000.0
    return image


@pytest.mark.parametrize(("seed", "same"), [(7, True), (8, False)])
def test_the_same_seed_gives_the_same_changes(seed: int, same: bool) -> None:
    one, other = ImageAugmentation(RECIPE, 7), ImageAugmentation(RECIPE, seed)
    pairs = [(one(marked_left()), other(marked_left())) for _ in range(6)]
    assert all(torch.equal(a, b) for a, b in pairs) == same


def test_what_is_on_the_left_stays_on_the_left_and_nearby() -> None:
    augment = ImageAugmentation(RECIPE, 0)
    places = []
    for _ in range(40):
        out = augment(marked_left())
        assert type(out) is torch.Tensor
        assert torch.isfinite(out).all()
        places.append(torch.nonzero(out[0] > 0).float().mean(0))
    moved = torch.stack(places) - torch.tensor([3.5, 11.5, 11.5])
    assert moved.abs().max() < 5  # voxels
    assert moved.abs().max() > 0.5


def test_a_flat_picture_stays_flat() -> None:
    augment = ImageAugmentation(VolumeRecipe((24, 24, 1), (1.0, 1.0, 1.0), ((0.0, 255.0),), "intensity", "OT"), 0)
    assert all(augment(torch.rand(1, 24, 24, 1) * 255).shape == (1, 24, 24, 1) for _ in range(10))
