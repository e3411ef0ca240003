"""Repairs against truth: a smooth object sampled where the slices lie, so that interpolation has a right answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medmm import open_study
from medmm.errors import GeometryError, InputError, IrregularSpacingError, MissingSlicesError
from medmm.study import Volume

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]
SPACING = (0.8, 0.6)  # rows, columns


def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A linear object in LPS mm: linear interpolation is exact in it."""
    return 40 + 3.0 * x - 2.0 * y + 5.0 * z


def sampled(slices: list[Dataset]) -> list[Dataset]:
    """Give each slice the values of `field` where its pixels lie."""
    for dataset in slices:
        x, y, z = map(float, dataset.ImagePositionPatient)
        columns, rows = np.meshgrid(np.arange(dataset.Columns), np.arange(dataset.Rows))
        values = field(x + columns * SPACING[1], y + rows * SPACING[0], np.full(rows.shape, z))
        dataset.PixelData = np.rint(values + 1024).astype("<u2").tobytes()
    return slices


def error_inside(volume: Volume) -> float:
    """Largest distance from `field` of any voxel that is not air, at the voxel's own place."""
    index = np.indices(volume.grid.shape).reshape(3, -1)
    x, y, z = (volume.grid.affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    truth = field(-x, -y, z)
    values = volume.array[0].reshape(-1).astype(float)
    inside = values > -1000
    blended = np.abs(values - truth) > 3  # rim of the moved slices, where air is mixed in
    assert blended[inside].mean() < 0.15
    return float(np.abs(values - truth)[inside & ~blended].max())


def test_nothing_is_repaired_unasked_nor_where_nothing_is_wrong(ct: Make, save: Save) -> None:
    folder = save(ct(5))
    plain, asked = open_study(folder), open_study(folder, repair=("fill", "resample", "deskew", "force"))
    np.testing.assert_array_equal(plain.volumes[0].array, asked.volumes[0].array)
    np.testing.assert_array_equal(plain.volumes[0].grid.affine, asked.volumes[0].grid.affine)
    assert asked.notices == ()
    assert asked.provenance.repairs == ()


def test_single_missing_slices_become_the_mean_of_their_neighbours(ct: Make, save: Save) -> None:
    slices = ct(9)
    full = open_study(save(slices, "full")).volumes[0]
    study = open_study(save([s for k, s in enumerate(slices) if k not in {2, 6}]), repair=("fill",))
    volume = study.volumes[0]
    np.testing.assert_allclose(volume.grid.affine, full.grid.affine, atol=1e-9)
    for k in range(9):
        expected = full.array[..., k]
        if k in {2, 6}:
            expected = np.rint((full.array[..., k - 1].astype(float) + full.array[..., k + 1]) / 2)
        np.testing.assert_allclose(volume.array[..., k], expected, atol=0.5)
    assert study.provenance.repairs == ("2 missing slices interpolated from their neighbours, after slice 2, 5",)
    assert [n.code for n in study.notices] == ["W_REPAIRED"]


def test_two_missing_in_a_row_stay_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(9)
    refused(MissingSlicesError, save([*slices[:3], *slices[5:]]), "at most one", repair=("fill", "resample"))


def test_uneven_slices_are_interpolated_to_the_field_they_sample(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(12)
    for k, dataset in enumerate(slices):
        dataset.ImagePositionPatient = ["-10", "-20", f"{30 + 1.3 * k + 0.07 * k * k:.6g}"]
    folder = save(sampled(slices))
    refused(IrregularSpacingError, folder, 'repair "resample"')
    volume = open_study(folder, repair=("resample",)).volumes[0]
    assert error_inside(volume) <= 1.0
    assert volume.grid.spacing[2] == pytest.approx(22.77 / 17)  # as near to the nearest two, 1.37 mm, as the height allows
    height = float(slices[-1].ImagePositionPatient[2])
    assert volume.grid.affine[2, 3] + volume.grid.affine[2, 2] * (volume.grid.shape[2] - 1) == pytest.approx(height)


def test_slices_off_their_line_are_not_resampled(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(8)
    slices[3].ImagePositionPatient = ["-7", "-20", "38.1"]
    refused(IrregularSpacingError, save(slices), "one line", repair=("resample",))


@pytest.mark.parametrize("step", [(0, 0.75, 2.5), (0, -0.75, 2.5), (0.5, 0.9, 2.0), (0, -1.0, -2.5)])
def test_a_tilted_stack_is_set_upright(ct: Make, save: Save, refused: Callable, step: tuple[float, ...]) -> None:
    folder = save(sampled(ct(10, step=step, shape=(24, 20))))
    refused(GeometryError, folder, 'repair "deskew"')
    study = open_study(folder, repair=("deskew",))
    volume = study.volumes[0]
    assert error_inside(volume) <= 1.0
    np.testing.assert_allclose(np.abs(volume.grid.directions), np.eye(3), atol=1e-9)
    assert volume.grid.spacing == pytest.approx((0.6, 0.8, abs(step[2])))
    assert "gantry tilt" in study.provenance.repairs[0]


def test_a_real_tilted_and_uneven_head_is_set_upright(shared_data: Path) -> None:
    study = open_study(shared_data / "dicom/dcm_qa_ct/In/GE", repair=("resample", "deskew"))
    volume = study.volumes[0]
    assert volume.grid.shape == (512, 611, 134)
    assert len(study.provenance.repairs) == 2
    skull = np.argwhere(volume.array[0] > 300)
    left, right = skull[:, 0].min(), skull[:, 0].max()
    assert 120 < (right - left) * volume.grid.spacing[0] < 200  # a head is about 15 cm wide


def test_missing_geometry_is_assumed_in_the_order_of_instance_numbers(ct: Make, save: Save) -> None:
    slices = ct(5, SliceThickness="3")
    truth = open_study(save(slices, "truth")).volumes[0]
    for dataset in slices:
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    study = open_study(save(slices), repair=("force",))
    np.testing.assert_array_equal(study.volumes[0].array, truth.array)
    assert study.volumes[0].grid.spacing == pytest.approx((0.6, 0.8, 3.0))
    assert study.provenance.repairs == ("slices assumed axial, in the order of InstanceNumber, 3 mm apart",)


def test_geometry_is_not_assumed_without_any_order(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(4, InstanceNumber=1)
    for dataset in slices:
        del dataset.ImagePositionPatient
    refused(GeometryError, save(slices), "InstanceNumber", repair=("force",))


@pytest.mark.parametrize("repair", ["fill", ("fill", "magic")])
def test_a_word_that_is_no_repair_is_refused(ct: Make, save: Save, repair: object) -> None:
    with pytest.raises(InputError, match="fill, resample, deskew, force"):
        open_study(save(ct(3)), repair=repair)
