"""Builders of real DICOM files, and the check that a refusal is the right one and tells nothing private."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medmm import open_study
from medmm.errors import InputError

AXIAL = (1, 0, 0, 0, 1, 0)
PRIVATE = ("SECRET", "1.2.826.", ".dcm")


@pytest.fixture
def ct() -> Callable[..., list[Dataset]]:
    """Make the slices of a CT series in spatial order; change them before saving."""
    return make_ct


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write slices into a folder under names that tell nothing of their order; returns the folder."""

    def write(slices: Sequence[Dataset], folder: str = "SECRET_scan") -> Path:
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        names = [f"SECRET{i:03d}.dcm" for i in range(len(slices))]
        random.Random(7).shuffle(names)
        for name, dataset in zip(names, slices, strict=True):
            pydicom.dcmwrite(target / name, dataset, enforce_file_format="TransferSyntaxUID" in dataset.file_meta)
        return target

    return write


@pytest.fixture
def zipped() -> Callable[[Path], Path]:
    """Zip a folder; returns the zip beside it."""

    def pack(folder: Path) -> Path:
        target = folder.with_suffix(".zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
        return target

    return pack


@pytest.fixture
def refused() -> Callable[..., InputError]:
    """Assert that opening a path raises exactly this leaf, with a message that names nothing private."""

    def check(leaf: type[InputError], path: Path, saying: str = "", **options: Any) -> InputError:
        with pytest.raises(InputError) as caught:
            open_study(path, **options)
        error = caught.value
        assert type(error) is leaf, f"{type(error).__name__}: {error.message}"
        assert saying in error.message
        assert not [word for word in (*PRIVATE, path.name, str(path.parent)) if word in error.message], error.message
        return error

    return check


@pytest.fixture
def set_raw() -> Callable[[Dataset, str, str], None]:
    """Put a value into a header that pydicom itself would refuse to write."""

    def put(dataset: Dataset, keyword: str, value: str) -> None:
        dataset[keyword] = DataElement(keyword, "LO", value)

    return put


def make_ct(
    count: int = 5,
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    step: Sequence[float] | float = 2.5,
    spacing: tuple[float, float] = (0.8, 0.6),
    shape: tuple[int, int] = (7, 9),
    series: str | None = None,
    **tags: Any,
) -> list[Dataset]:
    """Slices of a CT series.

    Args:
        count: Number of slices.
        orientation: ImageOrientationPatient.
        origin: ImagePositionPatient of the first slice.
        step: Vector from slice to slice in LPS mm, or a distance along the slice normal.
        spacing: PixelSpacing: between rows, between columns.
        shape: Rows, columns.
        series: SeriesInstanceUID; a new one when None.
        tags: Any other element, for every slice.
    """
    vector = np.asarray(step) if np.ndim(step) else step * np.cross(orientation[:3], orientation[3:])
    series = series or generate_uid(prefix="1.2.826.0.1.")
    rng = np.random.default_rng(0)
    return [_slice(np.asarray(origin) + k * vector, k, orientation, spacing, shape, series, rng, tags) for k in range(count)]


def _slice(
    position: Any, k: int, orientation: Any, spacing: Any, shape: tuple[int, int], series: str, rng: Any, tags: dict[str, Any]
) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix="1.2.826.0.1.")
    dataset.SeriesInstanceUID = series
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID = "SECRET^Patient", "SECRET-17"
    dataset.Rows, dataset.Columns = shape
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [f"{v:.8g}" for v in position]
    dataset.ImageOrientationPatient = [f"{v:.10g}" for v in orientation]
    dataset.PixelSpacing = [str(s) for s in spacing]
    dataset.SliceThickness = "1"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.PixelData = rng.integers(0, 2000, size=shape, dtype=np.uint16).tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset
