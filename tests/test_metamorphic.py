"""The same patient, however stored: the same network input and the same probability, to 1e-5."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid
from scipy.spatial.transform import Rotation

import medmm
from medmm.geometry import lps_to_ras, reorient
from medmm.inference import Predictor, load_model
from medmm.study import Study

Slices = list[pydicom.Dataset]
Oriented = tuple[np.ndarray, np.ndarray]
"""(I, J, K) voxels and their affine."""


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_model("sts51", "cpu")


@pytest.fixture(scope="module")
def slices(patient_zip: Path) -> Slices:
    with zipfile.ZipFile(patient_zip) as archive:
        contents = [archive.read(name) for name in archive.namelist() if name.endswith(".dcm")]
    return [pydicom.dcmread(io.BytesIO(content)) for content in contents]


@pytest.fixture(scope="module")
def upright(patient_zip: Path) -> Oriented:
    """The patient's voxels, their axes along R, A, S."""
    volume = medmm.open_study(patient_zip).volumes[0]
    array, affine = reorient(volume.array, volume.grid.affine)
    return np.ascontiguousarray(array[0]), affine


def turned(image: Oriented, order: tuple[int, int, int], flips: tuple[int, ...] = ()) -> Oriented:
    """The same voxels in the same places, in memory along other axes."""
    array, affine = image[0].transpose(order), image[1].copy()
    affine[:, :3] = image[1][:, list(order)]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
    return np.ascontiguousarray(np.flip(array, flips)), affine


def tilted(image: Oriented) -> Oriented:
    """The patient lying askew: the same voxels, turned in space."""
    around = np.eye(4)
    around[:3, :3] = Rotation.from_euler("xyz", [17, -9, 6], degrees=True).as_matrix()
    return image[0], around @ image[1]


def write_files(slices: Slices, folder: Path) -> Path:
    """Under names and in an order that say nothing."""
    for k, one in enumerate(slices):
        one.save_as(folder / f"IM{(k * 17) % len(slices):04d}")
    return folder


def write_zip(slices: Slices, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, one in enumerate(slices):
            buffer = io.BytesIO()
            one.save_as(buffer)
            archive.writestr(f"deep/er/{(k * 17) % len(slices)}", buffer.getvalue())
    return folder / "b.zip"


def write_compressed(syntax: str) -> Callable[[Slices, Path], Path]:
    def write(slices: Slices, folder: Path) -> Path:
        packed = copy.deepcopy(slices)
        for one in packed:
            del one["StudyID"]  # too long for a new file, which warns
            one.compress(syntax, generate_instance_uid=False)
        return write_files(packed, folder)

    return write


def write_enhanced(slices: Slices, folder: Path) -> Path:
    """One Enhanced CT object of the slices, in the order given."""

    def item(source: pydicom.Dataset, *keywords: str) -> Sequence:
        holder = pydicom.Dataset()
        for keyword in keywords:
            setattr(holder, keyword, source.get(keyword))
        return Sequence([holder])

    whole, shared, frames = copy.deepcopy(slices[0]), pydicom.Dataset(), []
    shared.PlaneOrientationSequence = item(whole, "ImageOrientationPatient")
    shared.PixelMeasuresSequence = item(whole, "PixelSpacing", "SliceThickness")
    for source in slices:
        frame = pydicom.Dataset()
        frame.PlanePositionSequence = item(source, "ImagePositionPatient")
        frame.PixelValueTransformationSequence = item(source, "RescaleSlope", "RescaleIntercept")
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(frames)
    whole.NumberOfFrames, whole.PixelData = len(slices), b"".join(source.PixelData for source in slices)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        del whole[keyword]
    pydicom.dcmwrite(folder / "whole.dcm", whole, enforce_file_format=True)
    return folder


def write_series(image: Oriented, template: pydicom.Dataset, folder: Path) -> Path:
    """DICOM slices along the last axis, whatever that is in the patient; the first axis runs along rows."""
    array, lps = image[0], lps_to_ras(image[1])
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    one = copy.deepcopy(template)
    one.Columns, one.Rows = array.shape[:2]
    one.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    one.ImageOrientationPatient = [decimal(x) for x in (lps[:3, :2] / spacing[:2]).T.ravel()]
    for k in np.random.default_rng(0).permutation(array.shape[2]):
        one.ImagePositionPatient = [decimal(x) for x in lps[:3, 3] + lps[:3, 2] * k]
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        stored = (array[:, :, k].T - int(template.RescaleIntercept)) // int(template.RescaleSlope)
        one.PixelData = stored.astype("<i2").tobytes()
        one.save_as(folder / f"{k * 31 % 1009}")
    return folder


def decimal(number: float) -> str:
    """As many digits as a DS holds."""
    return next(text for digits in range(14, 5, -1) if len(text := f"{number:.{digits}g}") <= 16)


def write_nifti(image: Oriented, folder: Path, name: str = "a.nii.gz") -> Path:
    nifti = nibabel.Nifti1Image(*image)
    nibabel.save(nifti, folder / name)
    return folder


def assert_same(predictor: Predictor, one: Path, other: Path) -> None:
    """The input tensor of the image, -1 to 1, and every probability, to 1e-5."""
    studies = [Study(medmm.open_study(path).volumes) for path in (one, other)]
    preprocessor = predictor.folder.preprocessor
    first, second = (preprocessor.collate([preprocessor.prepare(study)[0]]).inputs["image"][0] for study in studies)
    assert first.std() > 0.1
    torch.testing.assert_close(second, first, atol=1e-5, rtol=0)
    expected, found = (predictor.predict(study).answer.probabilities for study in studies)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "write",
    [write_files, write_zip, write_enhanced, *map(write_compressed, (RLELossless, JPEGLSLossless, JPEG2000Lossless))],
    ids=["shuffled files", "zip", "multi-frame", "rle", "jpeg-ls", "jpeg 2000"],
)
def test_another_container_of_the_same_slices(
    write: Callable[[Slices, Path], Path], predictor: Predictor, slices: Slices, patient_zip: Path, tmp_path: Path
) -> None:
    assert_same(predictor, patient_zip, write(slices, tmp_path))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "AIL"])
def test_nifti_of_the_same_volume_in_any_order_of_axes(
    name: str, axes: str, predictor: Predictor, upright: Oriented, patient_zip: Path, tmp_path: Path
) -> None:
    order, flips = ORDERS[axes]
    assert "".join(nibabel.aff2axcodes(turned(upright, order, flips)[1])) == axes
    assert_same(predictor, patient_zip, write_nifti(turned(upright, order, flips), tmp_path, name))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "AIL"])
def test_dicom_slices_of_the_same_volume_cut_in_any_plane(
    axes: str, predictor: Predictor, upright: Oriented, slices: Slices, patient_zip: Path, tmp_path: Path
) -> None:
    assert_same(predictor, patient_zip, write_series(turned(upright, *ORDERS[axes]), slices[0], tmp_path))


def test_dicom_and_nifti_of_a_patient_who_lies_askew(
    predictor: Predictor, upright: Oriented, slices: Slices, tmp_path: Path
) -> None:
    image = tilted(turned(upright, *ORDERS["LPS"]))
    (tmp_path / "dicom").mkdir()
    (tmp_path / "nifti").mkdir()
    assert_same(predictor, write_series(image, slices[0], tmp_path / "dicom"), write_nifti(image, tmp_path / "nifti"))


ORDERS: dict[str, tuple[tuple[int, int, int], tuple[int, ...]]] = {
    "RAS": ((0, 1, 2), ()), "LPS": ((0, 1, 2), (0, 1)), "SAR": ((2, 1, 0), ()), "AIL": ((1, 2, 0), (1, 2)),
}  # fmt: skip
"""Order and flips of axes that turn R, A, S into these."""
