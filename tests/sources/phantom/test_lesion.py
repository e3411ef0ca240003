"""Each form is told by its mask, and everything else about a picture says nothing about it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, label

from medmm.sources.phantom.lesion import FORMS, draw_lesion

SEEDS = range(12)


def lesion(seed: int, form: int):
    return draw_lesion(np.random.default_rng([6, seed]), form=form)


def shape_of(mask: np.ndarray) -> str:
    """The form by the topology of the mask and by how much of it is thin."""
    parts, _ = label(mask)
    if (np.bincount(parts.ravel())[1:] > 0.1 * mask.sum()).sum() > 2:
        return "scattered"
    if binary_fill_holes(mask).sum() > mask.sum() + 9:
        return "hollow"
    thickness = mask.sum() / np.logical_xor(mask, binary_erosion(mask)).sum() ** 2 * 4 * np.pi  # 1 for a disc
    return "smooth" if thickness > 1.05 else "lobed" if thickness > 0.55 else "spiked"


@pytest.mark.parametrize("form", range(len(FORMS)), ids=FORMS)
def test_the_form_can_be_told_without_doubt(form: int) -> None:
    assert {shape_of(lesion(seed, form).mask) for seed in range(60)} == {FORMS[form]}


@pytest.mark.parametrize("seed", SEEDS)
def test_place_area_contrast_and_surroundings_are_the_same_in_every_form(seed: int) -> None:
    drawn = [lesion(seed, form) for form in range(len(FORMS))]
    around = ~binary_dilation(np.any([d.mask for d in drawn], axis=0), iterations=6)
    assert all(np.array_equal(d.grey[around], drawn[0].grey[around]) for d in drawn)
    areas = np.array([d.mask.sum() for d in drawn])
    assert np.ptp(areas) < 0.03 * areas.mean()
    centres = np.array([np.argwhere(d.mask).mean(0) for d in drawn])
    assert np.ptp(centres, axis=0).max() < 2.5
    total = [d.grey.astype(float).sum() for d in drawn]
    assert np.ptp(total) < 0.03 * abs(drawn[0].grey[drawn[0].mask].mean() - drawn[0].grey[around].mean()) * areas[0] + 60


def test_nuisance_varies_from_picture_to_picture() -> None:
    drawn = [lesion(seed, 0) for seed in range(60)]
    change = [d.grey[d.mask].mean() - d.grey[~d.mask].mean() for d in drawn]
    assert 15 < sum(c > 0 for c in change) < 45  # darker or lighter
    assert min(map(abs, change)) > 20
    areas = [d.mask.sum() for d in drawn]
    assert max(areas) > 1.8 * min(areas)
    assert np.std([np.argwhere(d.mask).mean(0) for d in drawn], axis=0).min() > 6


def test_a_picture_is_grey_of_the_size_asked_for_and_the_lesion_lies_in_it() -> None:
    for seed in SEEDS:
        for form in range(len(FORMS)):
            grey, mask = draw_lesion(np.random.default_rng(seed), form=form, side=64)
            assert grey.shape == mask.shape == (64, 64)
            assert grey.dtype == np.uint8
            assert mask[1:-1, 1:-1].sum() == mask.sum() > 0
