"""The bytes the viewer draws, against nibabel's and pydicom's own idea of where voxels lie."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from medmm import open_study
from medmm.geometry import Grid
from medmm.study import Volume
from medmm.ui.pack import FILE, write_pack

SPACING = (0.7, 0.9, 2.5)


def inflate(folder: Path, spec: dict[str, Any]) -> Any:
    """(slices, rows, columns), as the viewer reads them."""
    columns, rows, slices = spec["shape"]
    return np.frombuffer(gzip.decompress((folder / FILE).read_bytes()), "<i2").reshape(slices, rows, columns)


def packed(volume: Volume, folder: Path) -> tuple[dict[str, Any], Any]:
    spec = write_pack(volume, folder)
    return spec, inflate(folder, spec)


def volume_of(array: Any, unit: Any = "HU", spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Volume:
    """A volume whose axes already point to R, A, S."""
    grid = Grid(array.shape, np.diag([*spacing, 1.0]))
    return Volume(array[np.newaxis], grid, unit, "CT" if unit == "HU" else "MR")


def shown(array: Any) -> Any:
    """What an R, A, S array looks like on screen: (slices upwards, rows to Posterior, columns to Left)."""
    return array.transpose(2, 1, 0)[:, ::-1, ::-1]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "RSA", "LIP", "ASL", "PIR", "SRP", "IPL"])
def test_any_acquisition_is_shown_in_the_same_order_with_its_exact_values(codes: str, tmp_path: Path) -> None:
    truth = np.random.default_rng(3).integers(-1024, 3071, (7, 9, 11)).astype(np.int16)
    image = nibabel.Nifti1Image(truth, np.diag([*SPACING, 1.0]))
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
    nibabel.save(turned, tmp_path / "scan.nii.gz")
    spec, voxels = packed(open_study(tmp_path / "scan.nii.gz").volumes[0], tmp_path)
    np.testing.assert_array_equal(voxels, shown(truth))
    assert spec["shape"] == [7, 9, 11]
    assert spec["spacing"] == pytest.approx(SPACING, rel=1e-6)
    assert (spec["unit"], spec["reduced"]) == ("HU", False)
    assert (spec["low"], spec["high"]) == (truth.min(), truth.max())


def test_a_real_axial_ct_is_shown_as_its_slices_were_stored(patient_zip: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(patient_zip) as archive:
        slices = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    assert [float(v) for v in slices[0].ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    expected = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
    spec, voxels = packed(open_study(patient_zip).volumes[0], tmp_path)
    np.testing.assert_array_equal(voxels, expected)
    assert spec["spacing"][:2] == pytest.approx([float(v) for v in slices[0].PixelSpacing[::-1]])


def test_an_oblique_scan_is_shown_nearest_to_its_axes(tmp_path: Path) -> None:
    truth = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 1000
    angle = np.deg2rad(20)
    affine = np.diag([*SPACING, 1.0])
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = Volume(truth[np.newaxis, ::-1], Grid((4, 5, 6), turn @ affine @ np.diag([-1.0, 1, 1, 1])), "HU", "CT")
    spec, voxels = packed(volume, tmp_path)
    np.testing.assert_array_equal(voxels, shown(truth))
    assert spec["spacing"] == pytest.approx(SPACING)


@pytest.mark.parametrize(
    ("shape", "expected", "factors"),
    [
        ((256, 256, 2), (256, 256, 2), (1, 1)),
        ((512, 512, 2), (256, 256, 2), (2, 2)),
        ((257, 9, 2), (129, 9, 2), (2, 1)),
        ((9, 600, 2), (9, 200, 2), (1, 3)),
        ((1, 512, 300), (1, 256, 300), (1, 2)),  # a single sagittal slice
        ((512, 1, 300), (256, 1, 300), (2, 1)),  # a single coronal slice
    ],
)
def test_wide_slices_are_averaged_over_blocks(
    shape: tuple[int, int, int], expected: tuple[int, ...], factors: tuple[int, int], tmp_path: Path
) -> None:
    truth = np.random.default_rng(4).integers(-1024, 3071, shape).astype(np.int16)
    spec, voxels = packed(volume_of(truth, spacing=SPACING), tmp_path)
    assert spec["shape"] == list(expected)
    assert spec["spacing"] == pytest.approx([SPACING[0] * factors[0], SPACING[1] * factors[1], SPACING[2]])
    assert spec["reduced"] == (max(factors) > 1)
    on_screen = shown(truth)
    for row, column in ((0, 0), (expected[1] // 2, expected[0] // 2), (expected[1] - 2, expected[0] - 2)):
        row, column = max(row, 0), max(column, 0)
        block = on_screen[0, row * factors[1] : (row + 1) * factors[1], column * factors[0] : (column + 1) * factors[0]]
        assert voxels[0, row, column] == np.rint(block.mean())


def test_a_block_cut_by_the_edge_stays_within_its_own_values(tmp_path: Path) -> None:
    truth = np.zeros((257, 1, 1), np.int16)
    truth[0] = 77  # the last column on screen
    _, voxels = packed(volume_of(truth), tmp_path)
    assert voxels[0, 0, -1] == 77
    assert (voxels[0, 0, :-1] == 0).all()


def test_fractional_hounsfield_units_are_rounded_and_kept_within_what_is_sent(tmp_path: Path) -> None:
    truth = np.array([-1000.6, -0.6, -0.4, 0.4, 99.6, 40_000.0], np.float32).reshape(6, 1, 1)
    spec, voxels = packed(volume_of(truth), tmp_path)
    assert voxels.ravel()[::-1].tolist() == [-1001, -1, 0, 0, 100, 32_767]
    assert (spec["low"], spec["high"]) == (-1001, 32_767)


@pytest.mark.parametrize(("offset", "scale"), [(0.5, 1e-6), (0.5, 1.0), (0.5, 1e6), (-100.0, 1.0), (100.0, 1e6)])
def test_intensities_of_any_range_keep_their_contrast(offset: float, scale: float, tmp_path: Path) -> None:
    truth = (np.linspace(offset, offset + 1, 200) * scale).astype(np.float32).reshape(200, 1, 1)
    spec, voxels = packed(volume_of(truth, "intensity"), tmp_path)
    levels = voxels.ravel()[::-1].astype(float)
    assert len(np.unique(levels)) == 200
    assert np.corrcoef(levels, truth.ravel())[0, 1] > 0.999999
    assert (spec["low"], spec["high"]) == (levels.min(), levels.max())


@pytest.mark.parametrize("value", [0.0, 0.25, 1e30])
def test_a_uniform_image_is_shown_as_one_grey(value: float, tmp_path: Path) -> None:
    spec, voxels = packed(volume_of(np.full((3, 3, 1), value, np.float32), "intensity"), tmp_path)
    assert spec["low"] == spec["high"]
    assert len(np.unique(voxels)) == 1


def test_a_picture_is_shown_upright_with_its_grey_levels(tmp_path: Path) -> None:
    grey = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8) * 5
    Image.fromarray(grey).save(tmp_path / "picture.png")
    spec, voxels = packed(open_study(tmp_path / "picture.png").volumes[0], tmp_path)
    np.testing.assert_array_equal(voxels[0], grey)
    assert spec["unit"] == "intensity"


def test_a_wide_picture_keeps_its_grey_levels(tmp_path: Path) -> None:
    Image.fromarray(np.full((10, 3000), 200, np.uint8)).save(tmp_path / "strip.png")
    spec, voxels = packed(open_study(tmp_path / "strip.png").volumes[0], tmp_path)
    assert spec["shape"] == [250, 10, 1]
    assert np.unique(voxels).tolist() == [200]


def test_the_same_volume_gives_the_same_bytes(patient_zip: Path, tmp_path: Path) -> None:
    volume = open_study(patient_zip).volumes[0]
    write_pack(volume, tmp_path)
    first = (tmp_path / FILE).read_bytes()
    write_pack(volume, tmp_path)
    assert (tmp_path / FILE).read_bytes() == first
    assert first[4:8] == bytes(4)  # gzip's time stamp


@pytest.mark.parametrize(
    "scan", ["sts51/ct_dicom/STS_001", "dicom/TotalSegmentator/example_ct_sm.nii.gz", "dicom/TotalSegmentator/example_mr_sm.nii.gz"]
)
def test_more_real_scans_are_shown_in_nibabels_closest_order(shared_data: Path, scan: str, tmp_path: Path) -> None:
    volume = open_study(shared_data / scan).volumes[0]
    closest = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume.array[0], volume.grid.affine))
    expected = shown(np.asarray(closest.dataobj)).astype(float)
    spec, voxels = packed(volume, tmp_path)
    assert spec["spacing"] == pytest.approx([float(z) for z in closest.header.get_zooms()], rel=1e-6)
    assert max(expected.shape[1:]) <= 256
    if volume.unit == "HU":
        np.testing.assert_array_equal(voxels, np.rint(expected))
    else:
        assert np.corrcoef(voxels.ravel(), expected.ravel())[0, 1] > 0.9999
