"""Phantom images as files: a real DICOM CT series, the same zipped, or NIfTI."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medmm.geometry import lps_to_ras
from medmm.sources.phantom.anatomy import Chest

_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_INTERCEPT = -1024
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def write_dicom(chest: Chest, folder: Path, study_id: str) -> Path:
    """Write a folder of CT Image Storage files whose names do not tell the slice order."""
    target = folder / study_id
    target.mkdir()
    for name, content in _slices(chest, study_id):
        (target / name).write_bytes(content)
    return target


def write_zip(chest: Chest, folder: Path, study_id: str) -> Path:
    """Write the same files as one zip with fixed time stamps."""
    target = folder / f"{study_id}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _slices(chest, study_id):
            member = zipfile.ZipInfo(name, date_time=_ZIP_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return target


def write_nifti(chest: Chest, folder: Path, study_id: str) -> Path:
    """Write a gzipped NIfTI without time stamps."""
    import gzip

    import nibabel

    image = nibabel.Nifti1Image(chest.hu, chest.grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(chest.grid.affine, code=1)
    target = folder / f"{study_id}.nii.gz"
    with target.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        packed.write(image.to_bytes())
    return target


def _slices(chest: Chest, study_id: str) -> Iterator[tuple[str, bytes]]:
    """(file name, file content) of every slice."""
    from pydicom.uid import generate_uid

    columns, rows, count = chest.grid.shape
    lps = lps_to_ras(chest.grid.affine)
    base = _header(study_id)
    base.Rows, base.Columns = rows, columns
    base.PixelSpacing = [_decimal(s) for s in (chest.grid.spacing[1], chest.grid.spacing[0])]
    base.SliceThickness = _decimal(chest.grid.spacing[2])
    base.ImageOrientationPatient = [
        _decimal(v) for v in (*chest.grid.directions[:, 0] * [-1, -1, 1], *chest.grid.directions[:, 1] * [-1, -1, 1])
    ]
    shuffled = np.random.default_rng(list(study_id.encode())).permutation(count)
    for k in range(count):
        base.SOPInstanceUID = generate_uid(entropy_srcs=[study_id, "slice", str(k)])
        base.file_meta.MediaStorageSOPInstanceUID = base.SOPInstanceUID
        base.InstanceNumber = k + 1
        base.ImagePositionPatient = [_decimal(v) for v in (lps @ [0, 0, k, 1])[:3]]
        stored = chest.hu[:, :, k].T.astype(np.int32) - _INTERCEPT
        base.PixelData = stored.astype("<u2").tobytes()
        buffer = io.BytesIO()
        base.save_as(buffer, enforce_file_format=True)
        yield f"{shuffled[k]:04d}.dcm", buffer.getvalue()


def _header(study_id: str) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import generate_uid

    def uid(what: str) -> Any:
        return generate_uid(entropy_srcs=[study_id, what])

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = _CT_IMAGE_STORAGE
    header.file_meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    header.SOPClassUID = _CT_IMAGE_STORAGE
    header.Modality, header.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.PatientName, header.PatientID, header.PatientIdentityRemoved = study_id, study_id, "YES"
    header.DeidentificationMethod = "Synthetic phantom; no patient"
    header.PatientBirthDate = header.PatientSex = header.StudyDate = header.StudyTime = ""
    header.AccessionNumber = header.StudyID = header.ReferringPhysicianName = ""
    header.Manufacturer, header.KVP, header.PatientPosition = "medmm phantom", "120", "HFS"
    header.SeriesNumber, header.AcquisitionNumber, header.PositionReferenceIndicator = 1, 1, ""
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = uid("study"), uid("series"), uid("frame")
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = "1", str(_INTERCEPT), "HU"
    return header


def _decimal(value: float) -> str:
    """A DICOM decimal string: at most 16 characters."""
    return f"{value:.8f}".rstrip("0").rstrip(".") or "0"
