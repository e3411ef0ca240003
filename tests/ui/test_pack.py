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
from medmm.ui.pack import read_chunk, write_overlay, write_pack

SPACING = (0.7, 0.9, 2.5)


def inflate(folder: Path, spec: dict[str, Any], number: int) -> Any:
    """(slices, rows, columns) of one level, put together from its chunks as the viewer does."""
    level = spec["levels"][number]
    columns, rows, slices = level["shape"]
    chunks = [read_chunk(folder, number, n) for n in range(-(-slices // level["depth"]))]
    assert None not in chunks
    return np.frombuffer(b"".join(gzip.decompress(c) for c in chunks if c), "<i2").reshape(slices, rows, columns)


def packed(volume: Volume, folder: Path) -> tuple[dict[str, Any], Any]:
    """What is known of a volume, and its voxels at the level held whole."""
    spec = write_pack(volume, folder)
    return spec, inflate(folder, spec, spec["whole"])


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
    assert spec["unit"] == "HU"
    assert [level["factors"] for level in spec["levels"]] == [[1, 1, 1]]
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
    assert spec["shape"] == list(shape)
    assert spec["spacing"] == pytest.approx(SPACING)
    level = spec["levels"][spec["whole"]]
    assert (level["shape"], level["factors"]) == ([*expected], [*factors, 1])
    on_screen = shown(truth)
    for row, column in ((0, 0), (expected[1] // 2, expected[0] // 2), (expected[1] - 2, expected[0] - 2)):
        row, column = max(row, 0), max(column, 0)
        block = on_screen[0, row * factors[1] : (row + 1) * factors[1], column * factors[0] : (column + 1) * factors[0]]
        assert voxels[0, row, column] == np.rint(block.mean())
    if max(factors) > 1:
        np.testing.assert_array_equal(inflate(tmp_path, spec, len(spec["levels"]) - 1), on_screen)


def test_a_large_scan_is_seen_coarsely_first_and_exactly_in_the_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    truth = (rng.integers(-1024, 3071, (300, 260, 165)) + 0.25).astype(np.float32)
    spec, whole = packed(volume_of(truth, spacing=SPACING), tmp_path)
    assert [level["factors"] for level in spec["levels"]] == [[4, 4, 2], [2, 2, 1], [1, 1, 1]]
    assert [level["shape"] for level in spec["levels"]] == [[75, 65, 83], [150, 130, 165], [300, 260, 165]]
    on_screen = shown(truth)
    coarse = inflate(tmp_path, spec, 0)
    assert coarse[3, 5, 7] == pytest.approx(on_screen[6:8, 20:24, 28:32].mean(), abs=1)
    assert coarse[82, 64, 74] == pytest.approx(on_screen[164, 256:260, 296:300].mean(), abs=1)  # the last slice alone
    assert whole[9, 8, 7] == np.rint(on_screen[9, 16:18, 14:16].mean())
    np.testing.assert_array_equal(inflate(tmp_path, spec, 2), np.rint(on_screen))


def test_a_scan_too_long_for_a_browser_is_averaged_along_its_length_too(tmp_path: Path) -> None:
    truth = np.random.default_rng(8).integers(-1024, 3071, (256, 256, 643)).astype(np.int16)
    spec, whole = packed(volume_of(truth), tmp_path)
    assert [level["factors"] for level in spec["levels"]] == [[2, 2, 6], [1, 1, 2], [1, 1, 1]]
    on_screen = shown(truth)
    assert whole[100, 8, 7] == np.rint(on_screen[200:202, 8, 7].mean())
    assert whole[321, 8, 7] == on_screen[642, 8, 7]
    assert gzip.decompress(read_chunk(tmp_path, 2, 642) or b"") == on_screen[642].astype("<i2").tobytes()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRP"])
def test_voxels_are_placed_in_the_patient_where_nibabel_places_them(codes: str, tmp_path: Path) -> None:
    affine = np.array([[0.7, 0, 0.1, -50], [0, 0.9, 0, 20], [-0.1, 0, 2.5, 700], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(np.arange(7 * 9 * 11, dtype=np.int16).reshape(7, 9, 11), affine)
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    spec, voxels = packed(Volume(np.asarray(turned.dataobj)[np.newaxis], Grid(turned.shape, turned.affine), "HU", "CT"), tmp_path)
    for column, row, slice_ in ((0, 0, 0), (6, 0, 3), (2, 8, 10)):
        index = np.argwhere(np.asarray(image.dataobj) == voxels[slice_, row, column])[0]
        x, y, z = nibabel.affines.apply_affine(image.affine, index)
        assert (np.array(spec["affine"]) @ [column, row, slice_, 1])[:3] == pytest.approx([-x, -y, z])


def test_what_is_not_there_is_no_chunk(tmp_path: Path) -> None:
    write_pack(volume_of(np.zeros((4, 4, 4), np.int16)), tmp_path)
    assert read_chunk(tmp_path, 0, 0) is not None
    assert read_chunk(tmp_path, 0, 1) is read_chunk(tmp_path, 1, 0) is read_chunk(tmp_path / "gone", 0, 0) is None


def test_an_overlay_is_sent_behind_the_levels_in_its_own_order(tmp_path: Path) -> None:
    spec = write_pack(volume_of(np.zeros((4, 4, 4), np.int16)), tmp_path)
    values = np.arange(24).reshape(2, 3, 4)
    write_overlay("first", np.zeros((1, 1, 1)), np.eye(4), tmp_path, spec)
    write_overlay("second", values, np.diag([2.0, 3, 4, 1]), tmp_path, spec, ["lesion"])
    first, second = spec["overlays"]
    assert (first["labels"], second["labels"]) == (None, {"1": "lesion"})
    assert second["shape"] == [2, 3, 4]
    assert np.diag(second["affine"]).tolist() == [-2, -3, 4, 1]
    sent = np.frombuffer(gzip.decompress(read_chunk(tmp_path, len(spec["levels"]) + 1, 0) or b""), np.uint8)
    np.testing.assert_array_equal(sent.reshape(4, 3, 2), values.transpose(2, 1, 0))


def test_a_second_series_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    write_pack(volume_of(np.zeros((600, 512, 20), np.int16)), tmp_path)
    write_pack(volume_of(np.zeros((4, 4, 4), np.int16)), tmp_path)
    assert len([f for f in tmp_path.rglob("*") if f.is_file()]) == 1


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
    _, voxels = packed(open_study(tmp_path / "strip.png").volumes[0], tmp_path)
    assert voxels.shape == (1, 10, 250)
    assert np.unique(voxels).tolist() == [200]


def test_the_same_volume_gives_the_same_bytes(patient_zip: Path, tmp_path: Path) -> None:
    volume = open_study(patient_zip).volumes[0]
    write_pack(volume, tmp_path)
    first = read_chunk(tmp_path, 0, 0)
    write_pack(volume, tmp_path)
    assert first is not None
    assert read_chunk(tmp_path, 0, 0) == first
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
