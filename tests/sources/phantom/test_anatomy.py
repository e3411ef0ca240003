from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from medmm.sources.phantom.anatomy import draw_chest

SEEDS = range(6)


def chest(seed: int, *, mass: bool = True):
    return draw_chest(np.random.default_rng([4, seed]), mass=mass, matrix=64)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mass_is_soft_tissue_in_air_and_its_mask_fits_it(seed: int) -> None:
    hu, grid, mask = chest(seed)
    around = binary_dilation(mask, iterations=3) & ~binary_dilation(mask, iterations=2)
    inside = binary_erosion(mask) if binary_erosion(mask).any() else mask
    assert -40 < hu[inside].mean() < 120
    assert np.median(hu[around]) < hu[inside].mean() - 300
    radius = (3 / (4 * np.pi) * mask.sum() * np.prod(grid.spacing)) ** (1 / 3)
    assert 12 < radius < 30


@pytest.mark.parametrize("seed", SEEDS)
def test_without_mass_the_mask_is_empty_and_all_else_is_drawn_alike(seed: int) -> None:
    with_mass, without = chest(seed), chest(seed, mass=False)
    assert not without.mask.any()
    assert without.grid.shape == with_mass.grid.shape
    assert np.array_equal(without.grid.affine, with_mass.grid.affine)


def test_tissues_have_the_hounsfield_units_of_a_chest() -> None:
    hu = chest(0, mass=False).hu
    assert hu.dtype == np.int16
    assert np.median(hu[:3, :3]) == pytest.approx(-1000, abs=30)  # air outside
    assert 0.05 < ((hu > -950) & (hu < -700)).mean() < 0.4  # lungs
    assert 0.1 < ((hu > 0) & (hu < 100)).mean() < 0.6  # muscle, blood, liver
    assert 0.002 < (hu > 200).mean() < 0.1  # bone
    assert hu.min() >= -1024
    assert hu.max() <= 3071


def test_spacing_and_slice_count_vary_between_patients() -> None:
    grids = [chest(seed).grid for seed in range(12)]
    assert len({round(g.spacing[0], 3) for g in grids}) == 12
    assert len({g.spacing[2] for g in grids}) >= 4
    assert len({g.shape[2] for g in grids}) >= 6
    assert {g.orientation for g in grids} == {"LPS"}
