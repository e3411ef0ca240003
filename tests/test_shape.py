"""Measurements of regions: exact where geometry gives them, SimpleITK's elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from medmm.shape import Shape, shape_of

ISOTROPIC = np.eye(4)


def ball(radius: float, spacing: tuple[float, float, float]) -> np.ndarray:
    reach = [int(radius / s) + 2 for s in spacing]
    axes = np.meshgrid(*(np.arange(-r, r + 1) * s for r, s in zip(reach, spacing, strict=True)), indexing="ij")
    return np.asarray(sum(a**2 for a in axes) <= radius**2)


def rotated(spacing: tuple[float, float, float]) -> np.ndarray:
    """An oblique affine."""
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    return affine


def test_a_box_measures_what_its_edges_say_in_any_orientation() -> None:
    region = np.zeros((9, 10, 8), dtype=bool)
    region[1:5, 2:8, 3:7] = True  # 4 x 6 x 4 voxels of 3 x 2 x 5 mm: 12 x 12 x 20 mm
    found = shape_of(region, rotated((3.0, 2.0, 5.0)))
    assert found.ml == pytest.approx(12 * 12 * 20 / 1000)
    assert found.parts == 1
    assert found.diameter_mm == pytest.approx(np.sqrt(12**2 + 12**2 + 20**2))
    assert found.solidity == pytest.approx(1)
    assert found.sphericity == pytest.approx((36 * np.pi * 2880**2) ** (1 / 3) / (2 * (12 * 12 + 12 * 20 + 12 * 20)))
    assert found.elongation == pytest.approx(12 / 20)
    assert found.flatness == pytest.approx(12 / 20)


def test_one_voxel_is_a_box() -> None:
    region = np.zeros((3, 3, 3), dtype=bool)
    region[1, 1, 1] = True
    found = shape_of(region, np.diag([1.0, 2.0, 4.0, 1.0]))
    assert (found.ml, found.parts) == (pytest.approx(0.008), 0)
    assert found.diameter_mm == pytest.approx(np.sqrt(21))
    assert (found.elongation, found.flatness) == (pytest.approx(0.5), pytest.approx(0.25))


def test_a_ball_is_one() -> None:
    found = shape_of(ball(12, (1.0, 1.0, 1.5)), np.diag([1.0, 1.0, 1.5, 1.0]))
    assert found.ml == pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.02)
    assert found.diameter_mm == pytest.approx(24, abs=2.1)  # voxels are boxes and stick out
    assert found.sphericity == pytest.approx(1, abs=0.04)
    assert found.solidity == pytest.approx(1, abs=0.15)
    assert found.flatness == pytest.approx(1, abs=0.02)


def test_it_agrees_with_simpleitk() -> None:
    rng = np.random.default_rng(0)
    region = np.zeros((24, 20, 16), dtype=bool)
    for centre in rng.integers(7, 11, (4, 3)):
        grid = np.indices(region.shape) - centre[:, None, None, None]
        region |= ((grid / np.array([6, 3, 4])[:, None, None, None]) ** 2).sum(0) < 1
    spacing = (0.8, 1.7, 2.5)
    image = SimpleITK.GetImageFromArray(region.T.astype(np.uint8))
    image.SetSpacing(spacing)
    theirs = SimpleITK.LabelShapeStatisticsImageFilter()
    theirs.ComputeFeretDiameterOn()
    theirs.Execute(image)
    found = shape_of(region, np.diag([*spacing, 1.0]))
    assert found.ml == pytest.approx(theirs.GetPhysicalSize(1) / 1000)
    reach = np.linalg.norm(spacing)  # they measure between centres of voxels, we from edge to edge
    assert theirs.GetFeretDiameter(1) <= found.diameter_mm <= theirs.GetFeretDiameter(1) + reach
    third, second, first = np.sort(theirs.GetPrincipalMoments(1))
    assert found.elongation == pytest.approx(np.sqrt(second / first), rel=0.02)  # theirs: points, ours: boxes
    assert found.flatness == pytest.approx(np.sqrt(third / first), rel=0.05)


def test_the_largest_piece_has_the_shape_and_specks_are_no_parts() -> None:
    region = np.zeros((40, 20, 20), dtype=bool)
    region[2:12, 2:12, 2:12] = True
    region[20:26, 2:8, 2:8] = True
    region[35, 15, 15] = True
    found = shape_of(region, ISOTROPIC)
    alone = shape_of(region & (np.arange(40) < 15)[:, None, None], ISOTROPIC)
    assert found.ml == pytest.approx((1000 + 216 + 1) / 1000)
    assert found.parts == 2
    assert (found.diameter_mm, found.solidity, found.flatness) == (alone.diameter_mm, alone.solidity, alone.flatness)


def test_nothing_has_no_shape() -> None:
    assert shape_of(np.zeros((4, 4, 4), dtype=bool), ISOTROPIC) == Shape(0.0, 0)
