"""Masks are taken on the study's own voxels alone, in whichever order their axes run."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medmm.errors import InputError, MaskError
from medmm.geometry import Grid
from medmm.sources.mask import read_mask

AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.5, 0.2, 40], [0, 0.1, 3, -90], [0, 0, 0, 1]])  # to L, P, S, a little tilted
GRID = Grid((7, 6, 5), AFFINE)
VALUES = np.random.default_rng(3).choice([0, 0, 2, 9], GRID.shape).astype(np.int16)


def save(path: Path, values: np.ndarray = VALUES, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path / "SECRET.nii.gz")
    return path / "SECRET.nii.gz"


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SAL", "IRP"])
def test_labels_keep_their_place_in_the_patient_however_the_axes_run(codes: str, tmp_path: Path) -> None:
    turned = nibabel.Nifti1Image(VALUES, AFFINE).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(tuple(codes))
        )
    )
    mask = read_mask(save(tmp_path, np.asarray(turned.dataobj), turned.affine), GRID)
    assert mask.labels == (2, 9)
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(VALUES, AFFINE))
    np.testing.assert_allclose(mask.affine, expected.affine, atol=1e-4)
    np.testing.assert_array_equal(np.array([0, 2, 9])[mask.values], np.asarray(expected.dataobj))


def shifted(millimetres: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += millimetres
    return affine


@pytest.mark.parametrize(
    ("values", "affine", "said"),
    [
        (VALUES[:-1], AFFINE, r"7 x 6 x 5 voxels; got one of 6 x 6 x 5"),
        (VALUES, shifted(1.5), "elsewhere"),
        (VALUES, AFFINE @ np.diag([1, 1, 1.1, 1]), "elsewhere"),
        (VALUES.transpose(1, 0, 2), AFFINE, "elsewhere"),
        (np.zeros_like(VALUES), AFFINE, "1 to 255 labels"),
        (VALUES - 1, AFFINE, "above 0"),
        (VALUES / np.float32(9), AFFINE, "whole numbers"),
    ],
    ids=["shape", "shift", "spacing", "turned", "empty", "negative", "probability"],
)
def test_what_is_no_mask_of_the_study_is_refused(values: np.ndarray, affine: np.ndarray, said: str, tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=said) as caught:
        read_mask(save(tmp_path, np.ascontiguousarray(values), affine), GRID)
    assert "SECRET" not in caught.value.message


def test_rounding_in_the_header_is_no_other_place(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path, VALUES, shifted(0.1)), GRID).labels == (2, 9)


def test_more_labels_than_can_be_told_apart_are_refused(tmp_path: Path) -> None:
    many = np.arange(300, dtype=np.int16).reshape(10, 6, 5)
    assert read_mask(save(tmp_path, np.minimum(many, 255)), Grid((10, 6, 5), AFFINE)).labels == tuple(range(1, 256))
    with pytest.raises(MaskError, match="1 to 255"):
        read_mask(save(tmp_path, many), Grid((10, 6, 5), AFFINE))


def test_other_images_and_other_files_are_no_mask(patient_zip: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="NIfTI"):
        read_mask(patient_zip, GRID)
    (tmp_path / "note.txt").write_text("no image")
    with pytest.raises(InputError):
        read_mask(tmp_path / "note.txt", GRID)
