"""Oracles: matrices worked out by hand, and nibabel's orientation functions."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from medmm.errors import GeometryError
from medmm.geometry import Grid, lps_to_ras, reorient

OBLIQUE = np.array([[0.8, 0.1, 0.3, 5], [-0.2, 0.9, 0.2, -7], [-0.1, -0.3, 2.4, 11], [0, 0, 0, 1]])


def random_affine(seed: int) -> np.ndarray:
    """A rotation by any angle, a permutation, flips and uneven spacing."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.3, 5, 3)
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    return affine


def near_axes(seed: int) -> np.ndarray:
    """A patient lying up to 20 degrees askew, voxel axes in any order and sign."""
    rng = np.random.default_rng(seed)
    permutation = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    skew, _ = np.linalg.qr(np.eye(3) + rng.uniform(-0.15, 0.15, (3, 3)))
    skew *= np.sign(np.diag(skew))
    affine = np.eye(4)
    affine[:3, :3] = skew @ permutation * rng.uniform(0.3, 5, 3)
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    return affine


def test_lps_and_ras_differ_in_the_first_two_signs() -> None:
    lps = np.array([[0.6, 0, 0, -10], [0, 0.8, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    by_hand = [[-0.6, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
    np.testing.assert_array_equal(lps_to_ras(lps), by_hand)
    np.testing.assert_array_equal(lps_to_ras(lps_to_ras(lps)), lps)


def test_properties_of_a_grid_worked_out_by_hand() -> None:
    grid = Grid((10, 20, 30), np.array([[0, 0, 3.0, 1], [-2, 0, 0, 2], [0, 0.5, 0, 3], [0, 0, 0, 1]]))
    assert grid.spacing == (2.0, 0.5, 3.0)
    assert grid.extent == (20.0, 10.0, 90.0)
    assert grid.orientation == "PSR"
    assert grid.plane == "sagittal"  # I-J slices span y and z
    np.testing.assert_allclose(grid.centre, [1 + 3 * 14.5, 2 - 2 * 4.5, 3 + 0.5 * 9.5])
    assert grid.summary() == {"shape": [10, 20, 30], "spacing_mm": [2.0, 0.5, 3.0], "extent_mm": [20.0, 10.0, 90.0],
                              "orientation": "PSR", "plane": "sagittal"}  # fmt: skip


@pytest.mark.parametrize(("degrees", "plane"), [(0, "axial"), (2, "axial"), (10, "oblique"), (45, "oblique"), (90, "coronal")])
def test_plane_is_named_unless_it_is_tilted(degrees: float, plane: str) -> None:
    s, c = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    assert Grid((2, 2, 2), np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])).plane == plane


@pytest.mark.parametrize("seed", range(20))
def test_orientation_letters_equal_nibabels(seed: int) -> None:
    affine = near_axes(seed)
    assert Grid((3, 4, 5), affine).orientation == "".join(aff2axcodes(affine))


@pytest.mark.parametrize("seed", range(20))
def test_reorient_equals_nibabels_closest_canonical(seed: int) -> None:
    affine = near_axes(seed)
    array = np.arange(60).reshape(1, 3, 4, 5)
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(array[0].astype(np.int16), affine))
    turned, new_affine = reorient(array, affine)
    np.testing.assert_array_equal(turned[0], np.asarray(canonical.dataobj))
    np.testing.assert_allclose(new_affine, canonical.affine)


@pytest.mark.parametrize("affine", [*map(random_affine, range(10)), OBLIQUE])
def test_reorient_leaves_every_voxel_where_it_is_in_the_patient(affine: np.ndarray) -> None:
    array = np.arange(2 * 60).reshape(2, 3, 4, 5)
    turned, new_affine = reorient(array, affine)
    for value in (0, 17, 42, 59):
        (before,), (after,) = np.argwhere(array[0] == value), np.argwhere(turned[0] == value)
        np.testing.assert_allclose(affine @ [*before, 1], new_affine @ [*after, 1])
    np.testing.assert_array_equal(turned[1], turned[0] + 60)


def test_reorient_survives_axes_so_sheared_that_two_point_the_same_way() -> None:
    affine = np.array([[1, 0, 0, 0], [0, 0.8, 0.9, 0], [0, 0.6, 0.43, 0], [0, 0, 0, 1]])
    turned, new_affine = reorient(np.arange(24).reshape(1, 2, 3, 4), affine)
    assert abs(np.linalg.det(new_affine)) == pytest.approx(abs(np.linalg.det(affine)))
    assert sorted(turned.shape) == [1, 2, 3, 4]


def test_centred_grid_shares_the_centre_and_is_axis_aligned() -> None:
    grid = Grid((30, 40, 50), OBLIQUE)
    target = grid.centred((2.0, 3.0, 4.0), (8, 9, 10))
    np.testing.assert_allclose(target.centre, grid.centre)
    np.testing.assert_array_equal(target.affine[:3, :3], np.diag([2, 3, 4]))
    assert (target.shape, target.orientation) == ((8, 9, 10), "RAS")


@pytest.mark.parametrize(
    "affine",
    [np.eye(3), np.full((4, 4), np.nan), np.diag([1, 0, 1, 1]), np.diag([1, np.inf, 1, 1]), np.ones((4, 4))],
    ids=["3 x 3", "nan", "flat", "infinite", "dependent"],
)
def test_an_affine_that_is_no_geometry_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Grid((2, 2, 2), affine)
