"""A large CT series made from a shipped patient: 300 x 512 x 512 by default, in any encoding."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import zoom

from medmm.shelf import examples

NOISE_HU = 12.0  # of a usual reconstruction; without it compression would be too easy


def make_series(folder: Path, slices: int = 300, side: int = 512, encoding: str | None = None) -> Path:
    """Write a series under names that do not tell its order; nothing when it is there already.

    Args:
        folder: Parent folder.
        slices: Number of slices.
        side: Rows and columns.
        encoding: Transfer syntax UID to compress with; plain explicit little endian when None.
    """
    target = folder / f"{encoding or 'plain'}-{slices}-{side}"
    if target.exists():
        return target
    template, voxels = _patient()
    rng = np.random.default_rng(0)
    planes = zoom(voxels, (1, side / voxels.shape[1], side / voxels.shape[2]), order=1)
    series = generate_uid()
    building = folder / f"{target.name}.part"
    building.mkdir(parents=True, exist_ok=True)
    for k in range(slices):
        plane = planes[k * len(planes) // slices] + rng.normal(0, NOISE_HU, (side, side))
        template.PixelData = np.clip(np.rint(plane), -1024, 3071).astype("<i2").tobytes()
        template.Rows = template.Columns = side
        template.PixelSpacing = [str(round(360 / side, 6))] * 2
        template.SeriesInstanceUID = series
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        template.ImagePositionPatient = ["-180", "-180", str(round(k * 1.25, 3))]
        template.InstanceNumber = k + 1
        template.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = pydicom.dcmread(io.BytesIO(_bytes(template)))
        if encoding:
            dataset.compress(encoding, generate_instance_uid=False)
        (building / f"{(k * 7919) % 100_003:06d}").write_bytes(_bytes(dataset))
    building.rename(target)
    return target


def _patient() -> tuple[pydicom.Dataset, np.ndarray]:
    """Header of one slice and all voxels (K, rows, columns) of a shipped patient."""
    path = next(e.path for e in examples() if e.model == "sts51")
    with zipfile.ZipFile(path) as archive:
        slices = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist() if name.endswith(".dcm")]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in slices[0]:
            del slices[0][keyword]
    return slices[0], np.stack([s.pixel_array for s in slices]).astype(np.float32)


def _bytes(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
