"""The banded resampling against MONAI's chain of transforms and scipy's interpolation, whatever way the volume lies in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientation, ResizeWithPadOrCrop, Spacing
from scipy.ndimage import map_coordinates

from medmm.geometry import Grid
from medmm.transforms.resampling import is_aligned, sample_aligned

PAD = -1000.0


def volume(order: tuple[int, int, int], signs: tuple[int, int, int], dtype: type = np.int16) -> tuple[np.ndarray, Grid]:
    """Smooth noise on a grid whose voxel axes are permuted and flipped patient axes."""
    rng = np.random.default_rng(0)
    shape = (33, 27, 21)
    array = rng.integers(-1000, 1000, shape).astype(dtype)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel, (patient, sign) in enumerate(zip(order, signs, strict=True)):
        affine[patient, voxel] = sign * (0.9, 1.3, 2.1)[voxel]
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return array, Grid(shape, affine)


WAYS = [((0, 1, 2), (1, 1, 1)), ((0, 1, 2), (-1, -1, 1)), ((2, 0, 1), (1, -1, -1)), ((1, 2, 0), (-1, 1, -1))]


@pytest.mark.parametrize(("order", "signs"), WAYS)
@pytest.mark.parametrize("spacing", [0.7, 1.5, 3.0])
def test_without_averaging_it_equals_monais_orientation_spacing_and_crop(
    order: tuple[int, int, int], signs: tuple[int, int, int], spacing: float
) -> None:
    array, grid = volume(order, signs)
    shape = (24, 30, 18)
    chain = Compose(
        [Orientation("RAS", labels=None), Spacing((spacing,) * 3, mode="bilinear"), ResizeWithPadOrCrop(shape, constant_values=PAD)]
    )
    expected = chain(MetaTensor(torch.from_numpy(array[None]), affine=grid.affine))
    got = sample_aligned(array, grid, Grid(shape, expected.affine.numpy()), PAD, antialias=False)
    both = (got != PAD) & (expected[0].as_tensor() != PAD)
    assert both.float().mean() > 0.1
    torch.testing.assert_close(got[both], expected[0].as_tensor()[both], atol=2e-2, rtol=0)


@pytest.mark.parametrize("layout", ["C", "F", "transposed", "flipped"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_way_a_volume_lies_in_memory_changes_nothing(layout: str, dtype: type) -> None:
    array, grid = volume((0, 1, 2), (-1, -1, 1), dtype)
    target = grid.centred((1.7, 1.1, 2.9), (20, 22, 16))
    lying = {
        "C": array,
        "F": np.asfortranarray(array),
        "transposed": np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1),
        "flipped": np.ascontiguousarray(array[::-1])[::-1],
    }[layout]
    got, expected = (sample_aligned(a, grid, target, PAD) for a in (lying, array))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)  # axes are summed in another order


def test_values_at_voxel_centres_are_those_of_linear_interpolation() -> None:
    array, grid = volume((2, 0, 1), (1, -1, -1))
    target = grid.centred((0.8, 0.8, 0.8), (16, 18, 20))
    index = np.indices(target.shape).reshape(3, -1)
    world = target.affine @ np.vstack([index, np.ones(index.shape[1])])
    source = (np.linalg.inv(grid.affine) @ world)[:3]
    expected = map_coordinates(array.astype(float), source, order=1, mode="nearest").reshape(target.shape)
    got = sample_aligned(array, grid, target, PAD, antialias=False).numpy()
    inside = ((source >= 0) & (source <= np.array(grid.shape)[:, None] - 1)).all(axis=0).reshape(target.shape)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-2)


def test_where_the_volume_is_not_is_padding_and_nowhere_else() -> None:
    array, grid = volume((0, 1, 2), (1, 1, 1))
    got = sample_aligned(np.full_like(array, 7), grid, grid.centred((1, 1, 1), (64, 64, 64)), PAD)
    covered = got != PAD
    torch.testing.assert_close(got[covered], torch.full((int(covered.sum()),), 7.0), atol=1e-4, rtol=0)
    assert int(covered.sum()) == pytest.approx(np.prod(grid.extent), rel=0.05)  # voxels of one cubic millimetre


def test_no_copy_of_the_whole_volume_is_made() -> None:
    array = np.zeros((40, 64, 64), np.int16).transpose(2, 1, 0)
    lying = array.transpose(2, 1, 0)
    assert torch.from_numpy(lying).data_ptr() == lying.ctypes.data  # what the module relies on
    grid = Grid(array.shape, np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert sample_aligned(array, grid, grid.centred((4, 4, 4), (8, 8, 8)), PAD).shape == (8, 8, 8)


def test_alignment_is_judged_to_less_than_a_degree() -> None:
    def turned(degrees: float) -> Grid:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return Grid((4, 4, 4), np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))

    assert is_aligned(turned(0.5))
    assert is_aligned(turned(90.5))
    assert not is_aligned(turned(1.0))
