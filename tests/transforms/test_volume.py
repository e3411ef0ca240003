"""Where voxels land: against functions of world position, nibabel's resampling, and by hand."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from nibabel.processing import resample_from_to
from scipy.spatial.transform import Rotation

from medmm.errors import NonFiniteError, ScopeError
from medmm.geometry import Grid
from medmm.study import Volume
from medmm.transforms.volume import VolumeRecipe, plan_recipe, resample, to_channels

CENTRE = np.array([12.0, -30.0, 400.0])
GANTRY = np.array([[1, 0, 0], [0, 1, np.sin(0.3)], [0, 0, np.cos(0.3)]])
DIRECTIONS = {
    "ras": np.eye(3),
    "lps": np.diag([-1.0, -1.0, 1.0]),
    "head_first_down": np.diag([-1.0, 1.0, -1.0]),
    "sagittal": np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": Rotation.from_euler("xyz", [20, 10, 5], degrees=True).as_matrix() @ np.diag([-1.0, -1.0, 1.0]),
    "steep": Rotation.from_euler("xyz", [45, 30, 0], degrees=True).as_matrix(),
    "gantry_tilt": GANTRY,
}
ALIGNED = [name for name in DIRECTIONS if name not in ("oblique", "steep", "gantry_tilt")]
SPACINGS = {"cube": (2.0, 2.0, 2.0), "flat_slices": (0.9, 0.9, 3.3), "anisotropic": (1.0, 1.7, 4.0)}


def make_grid(direction: str, spacing: tuple[float, ...], size_mm: float = 90.0) -> Grid:
    shape = tuple(int(size_mm / s) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[direction] * np.asarray(spacing)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, affine)


def positions(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def ct(array: np.ndarray, grid: Grid) -> Volume:
    return Volume(np.rint(array).astype(np.int16)[None], grid, "HU", "CT")


def cube(voxels: int, mm: float) -> VolumeRecipe:
    return VolumeRecipe((voxels,) * 3, (mm,) * 3)


def resampled(volume: Volume, recipe: VolumeRecipe) -> tuple[np.ndarray, np.ndarray]:
    out, _ = resample(volume, recipe)
    return out.as_tensor()[0].numpy().astype(float), out.affine.numpy()


def depth_inside(grid: Grid, points: np.ndarray) -> np.ndarray:
    """How many mm a point lies within the outermost voxel centres; negative outside."""
    index = (points - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    return (np.minimum(index, np.asarray(grid.shape) - 1 - index) * grid.spacing).min(-1)


@pytest.mark.parametrize("target", [1.5, 2.5, 4.0])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_ramp_in_world_millimetres_is_reproduced_at_every_voxel(direction: str, spacing: str, target: float) -> None:
    slope = np.array([3.0, -5.0, 4.0])  # HU a mm, another one along each axis and sign
    grid = make_grid(direction, SPACINGS[spacing])
    out, affine = resampled(ct((positions(grid.shape, grid.affine) - CENTRE) @ slope, grid), cube(40, target))
    points = positions(out.shape, affine)
    depth = depth_inside(grid, points)
    well_inside = depth > max(target, *SPACINGS[spacing]) * 1.5
    error_mm = np.abs(out - (points - CENTRE) @ slope)[well_inside] / np.linalg.norm(slope)
    assert well_inside.sum() > 300
    assert error_mm.max() < 0.25
    assert (out[depth < -1.5 * max(target, *SPACINGS[spacing])] == -1000).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_without_downsampling_voxels_equal_nibabels_linear_interpolation(direction: str) -> None:
    grid = make_grid(direction, (2.5, 2.5, 3.0), 60)
    array = np.random.default_rng(0).integers(-900, 900, grid.shape).astype(np.int16)
    out, affine = resampled(ct(array, grid), cube(24, 1.7))
    exact = nibabel.Nifti1Image(array.astype(float), grid.affine)  # of whole numbers nibabel would make whole numbers
    oracle = resample_from_to(exact, (out.shape, affine), order=1, cval=-1000)
    inside = depth_inside(grid, positions(out.shape, affine)) > 0.01
    assert inside.sum() > 5000
    assert np.abs(out - oracle.get_fdata())[inside].max() < 1e-3


@pytest.mark.parametrize("direction", ALIGNED)
def test_plain_linear_sampling_of_finer_voxels_equals_nibabels(direction: str) -> None:
    grid = make_grid(direction, (1.0, 1.3, 2.0), 60)
    array = np.random.default_rng(0).integers(-900, 900, grid.shape).astype(np.int16)
    out, affine = resampled(ct(array, grid), VolumeRecipe((16, 16, 16), (3.4, 3.4, 3.4), antialias=False))
    exact = nibabel.Nifti1Image(array.astype(float), grid.affine)  # of whole numbers nibabel would make whole numbers
    oracle = resample_from_to(exact, (out.shape, affine), order=1, cval=-1000)
    inside = depth_inside(grid, positions(out.shape, affine)) > 0.01
    assert inside.sum() > 2000
    assert np.abs(out - oracle.get_fdata())[inside].max() < 1e-3


@pytest.mark.parametrize("kind", ["flipped", "read-only"])
def test_arrays_that_torch_cannot_share_are_read_all_the_same(kind: str) -> None:
    grid = make_grid("lps", (2.5, 2.5, 3.0), 60)
    array = np.random.default_rng(0).integers(-900, 900, grid.shape).astype(np.int16)
    other = array[::-1, :, ::-1].copy()[::-1, :, ::-1] if kind == "flipped" else array.copy()
    other.flags.writeable = kind == "flipped"
    recipe = cube(16, 4.0)
    expected, _ = resample(Volume(array[None], grid, "HU", "CT"), recipe)
    found, _ = resample(Volume(other[None], grid, "HU", "CT"), recipe)
    assert torch.equal(found.as_tensor(), expected.as_tensor())


@pytest.mark.parametrize("target", [2.0, 4.0])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_landmark_stays_at_its_place_in_the_patient(direction: str, target: float) -> None:
    grid = make_grid(direction, (1.0, 1.0, 2.0))
    landmark = CENTRE + np.array([21.0, 9.0, -14.0])  # right, anterior, inferior
    distance = np.linalg.norm(positions(grid.shape, grid.affine) - landmark, axis=-1)
    out, affine = resampled(ct(np.where(distance < 6, 1000, -1000), grid), cube(32, target))
    mass = out + 1000
    found = (positions(out.shape, affine) * mass[..., None]).sum((0, 1, 2)) / mass.sum()
    assert np.abs(found - landmark).max() < 0.5


def test_a_scan_tilted_by_less_than_a_degree_is_off_by_less_than_its_tilt() -> None:
    tilt = Rotation.from_euler("y", 0.7, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt * 2.0
    shape = (60, 60, 60)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    ramp = (positions(shape, affine) - CENTRE) @ [10.0, 0.0, 0.0]
    out, out_affine = resampled(ct(ramp, Grid(shape, affine)), cube(24, 4.0))
    error_mm = (out - (positions(out.shape, out_affine) - CENTRE) @ [10.0, 0.0, 0.0]) / 10
    assert np.abs(error_mm).max() < np.sin(np.radians(0.7)) * 48 + 0.1
    assert abs(error_mm.mean()) < 0.05


def test_the_rounding_of_an_affine_moves_no_voxel_across_the_edge() -> None:
    affine = np.diag([0.7, 0.7, 0.7, 1.0])
    rounded = affine.astype(np.float32).astype(np.float64)
    assert (rounded != affine).any()
    scans = [ct(np.full((512, 512, 8), 500), Grid((512, 512, 8), each)) for each in (affine, rounded)]
    recipe = VolumeRecipe((129, 129, 4), (2.8, 2.8, 2.8))  # its outermost centres lie on the scan's outermost faces
    exact, other = (resample(scan, recipe)[0].as_tensor() for scan in scans)
    assert (exact[0, 0, 0, 2] == 500).all()
    torch.testing.assert_close(other, exact, atol=1e-3, rtol=0)


def test_downsampling_averages_instead_of_picking_voxels() -> None:
    shape = (64, 64, 64)
    noise = np.random.default_rng(0).normal(0, 300, shape)
    out, _ = resampled(ct(noise, Grid(shape, np.eye(4))), cube(8, 8.0))
    assert out.std() < 300 / 8**1.5 * 2  # a mean over the voxel, within a factor of two
    assert abs(out.mean()) < 10


def test_what_the_scan_does_not_cover_is_air() -> None:
    out, _ = resampled(ct(np.zeros((10, 10, 10)), Grid((10, 10, 10), np.eye(4))), cube(16, 1.0))
    assert (out[3:13, 3:13, 3:13] == 0).all()
    assert (out == -1000).sum() == 16**3 - 10**3


def test_the_result_is_a_metatensor_that_monai_reads_with_its_affine() -> None:
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    out, _ = resample(ct(np.zeros((20, 20, 20)), make_grid("lps", (2.0, 2.0, 2.0), 40)), cube(16, 3.0))
    assert isinstance(out, MetaTensor)
    assert out.dtype == torch.float32
    assert np.allclose(np.diag(out.affine), [3, 3, 3, 1])
    assert np.allclose((out.affine.numpy() @ [7.5, 7.5, 7.5, 1])[:3], CENTRE)
    assert tuple(Spacing((6.0, 6.0, 6.0))(out).shape[1:]) == (8, 8, 8)


@pytest.mark.parametrize(("modality", "unit"), [("MR", "intensity"), ("OT", "intensity"), ("PT", "HU"), ("CT", "intensity")])
def test_another_modality_or_unit_is_out_of_scope(modality: str, unit: str) -> None:
    volume = Volume(np.zeros((1, 8, 8, 8), np.int16), Grid((8, 8, 8), np.eye(4)), unit, modality)  # type: ignore[arg-type]
    with pytest.raises(ScopeError, match=f"{modality} in {unit}"):
        resample(volume, cube(8, 1.0))


def test_a_single_slice_is_out_of_scope_for_a_model_of_volumes() -> None:
    with pytest.raises(ScopeError, match="single slice"):
        resample(ct(np.zeros((8, 8, 1)), Grid((8, 8, 1), np.eye(4))), cube(8, 1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_volume_that_is_not_finite_never_gets_this_far(value: float) -> None:
    array = np.zeros((1, 8, 8, 8), np.float32)
    array[0, 3, 3, 3] = value
    with pytest.raises(NonFiniteError):
        Volume(array, Grid((8, 8, 8), np.eye(4)), "HU", "CT")


@pytest.mark.parametrize(
    ("shape", "code"),
    [((40, 40, 40), None), ((48, 48, 48), None), ((22, 40, 40), None), ((19, 40, 40), "W_SMALL_FIELD"),
     ((40, 40, 15), "W_SMALL_FIELD"), ((40, 51, 40), "W_LARGE_FIELD"), ((60, 60, 60), "W_LARGE_FIELD")],
)  # fmt: skip
def test_a_field_of_view_unlike_the_models_own_is_told(shape: tuple[int, int, int], code: str | None) -> None:
    _, notices = resample(ct(np.zeros(shape), Grid(shape, np.eye(4))), cube(40, 1.0))
    assert [n.code for n in notices] == ([code] if code else [])
    if code:
        assert "40 x 40 x 40" in notices[0].message
        assert " x ".join(map(str, shape)) in notices[0].message


def test_windows_become_channels_between_minus_one_and_one() -> None:
    hu = torch.tensor([-2000, -1000, -160, 40, 240, 600, 3000], dtype=torch.int16).reshape(1, 1, 7, 1, 1)
    out = to_channels(hu, [(-1000.0, 600.0), (-160.0, 240.0)])
    assert out[0, 0].flatten().tolist() == pytest.approx([-1, -1, 0.05, 0.3, 0.55, 1, 1], abs=1e-6)
    assert out[0, 1].flatten().tolist() == pytest.approx([-1, -1, -1, 0, 1, 1, 1], abs=1e-6)


def test_the_planned_grid_covers_the_cohort_within_its_budget() -> None:
    grids = [Grid((100, 80, n), np.diag([-2.0, -2.0, 5.0, 1.0])) for n in range(20, 60)]
    recipe = plan_recipe([(g, "HU", "CT") for g in grids], 32**3)
    field = np.array(recipe.shape) * recipe.spacing
    extents = np.array([[200, 160, 5 * n] for n in range(20, 60)])
    assert ((extents <= field).all(1)).mean() >= 0.95
    assert len(set(recipe.spacing)) == 1
    assert 32**3 <= np.prod(recipe.shape) < 2 * 32**3  # axes are rounded up to a multiple of eight
    assert all(n % 8 == 0 for n in recipe.shape)


def test_a_cohort_of_pictures_is_planned_flat() -> None:
    recipe = plan_recipe([(Grid((300, 200, 1), np.eye(4)), "intensity", "OT")] * 3, 64**2)
    assert recipe.shape[2] == 1
    assert recipe.windows == ((0.0, 255.0),)


def test_mixed_kinds_of_images_cannot_be_planned_together() -> None:
    grid = Grid((8, 8, 8), np.eye(4))
    with pytest.raises(ScopeError, match="CT in HU, MR in intensity"):
        plan_recipe([(grid, "HU", "CT"), (grid, "intensity", "MR")], 512)
