"""A NIfTI file to one volume, refusing what its header leaves open or contradicts."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

import numpy as np

from medmm.errors import (
    CorruptError,
    GeometryError,
    NonFiniteError,
    NotHounsfieldError,
    TooLargeError,
    TruncatedError,
)
from medmm.geometry import Grid
from medmm.settings import LIMITS
from medmm.sources.archive import Entry
from medmm.sources.foreign import foreign_bytes
from medmm.sources.inflate import GZIP, gunzip
from medmm.study import Notice, Provenance, Study, Volume
from medmm.types import AnyArray, FloatArray, Unit

_HEADER_BYTES = 348
_AFTERWORD = 1 << 20  # bytes allowed behind the voxels
_SPACING_AGREES = 0.01
_LOOKS_LIKE_HU = -200  # CT of a patient shows air or fat well below water; magnitudes and masks do not
_TWICE_RESCALED_HU = -1500


def is_nifti(entry: Entry) -> bool:
    """Whether the content (not the name) is NIfTI-1 in one file, gzipped or not."""
    try:
        head = _head(entry)
    except (OSError, EOFError, zlib.error):
        return False
    return len(head) == _HEADER_BYTES and head[344:348] == b"n+1\x00"


def read_study(entry: Entry) -> Study:
    """Read one NIfTI file.

    NIfTI states no unit. Values that reach well below zero as CT does are taken as HU, with a
    notice; anything else is `intensity`, which a CT model refuses.

    Raises:
        InputError: One of its leaves for damaged, unoriented, contradictory or non-scalar images.
    """
    import nibabel

    with foreign_bytes("Expected a readable NIfTI image; this one is damaged. Convert it again."):
        # The header as stored: an image's own copy has offset and scaling wiped.
        promised = _check_header(nibabel.Nifti1Header.from_fileobj(io.BytesIO(_head(entry))))
        content = _content(entry, promised)
        image = nibabel.Nifti1Image.from_bytes(content)
        i, j, k = image.shape[:3]
        grid = Grid((i, j, k), _affine(image))
        array = _values(image)
        unit, notices = _unit(array)
    volume = Volume(array[np.newaxis], grid, unit, "CT" if unit == "HU" else "OT")
    provenance = Provenance(source="nifti", chosen=f"NIfTI volume of {i} x {j} x {k} voxels")
    return Study(volumes=(volume,), notices=notices, provenance=provenance)


def _head(entry: Entry) -> bytes:
    """The header's bytes, inflated if need be."""
    head = entry.head(_HEADER_BYTES)
    if head[:2] != GZIP:
        return head
    with entry.open() as file, gzip.GzipFile(fileobj=file) as inflated:
        return inflated.read(_HEADER_BYTES)


def _content(entry: Entry, promised: int) -> bytes:
    """The whole file, inflated if need be, and not much longer than its header promises."""
    with entry.open() as file:
        content = gunzip(file, promised + _AFTERWORD) if entry.head(2) == GZIP else file.read()
    if len(content) < promised:
        msg = "Expected all voxels the header promises; the file ends early. Copy it again."
        raise TruncatedError(msg)
    return content


def _check_header(header: Any) -> int:
    """Bytes that the header promises, after checks of what it says about them."""
    shape = header.get_data_shape()
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        msg = f"Expected one 3-D volume; got an image of {len(shape)} dimensions. Split it first."
        raise GeometryError(msg)
    voxels = int(np.prod([int(n) for n in shape], dtype=object))
    if voxels > LIMITS.voxels:
        msg = f"Expected at most {LIMITS.voxels:,} voxels; the header states {voxels:,}. Crop or resample the image."
        raise TooLargeError(msg)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        msg = "Expected real numbers as voxels; got complex or colour values. Convert it to one scalar volume."
        raise CorruptError(msg)
    promised: int = int(header["vox_offset"]) + voxels * dtype.itemsize
    if promised > LIMITS.file_bytes:
        msg = f"Expected at most {LIMITS.file_bytes >> 20:,} MB of voxels; the header states more. Crop or resample the image."
        raise TooLargeError(msg)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope) or np.isinf(intercept) or (np.isfinite(slope) and slope != 0 and not np.isfinite(intercept)):
        msg = "Expected finite scl_slope and scl_inter; got NaN or infinity. The header is damaged."
        raise NonFiniteError(msg)
    return promised


def _affine(image: Any) -> FloatArray:
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        msg = "Expected an orientation (sform or qform); the header states none. Convert from the original images."
        raise GeometryError(msg)
    affine: FloatArray = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all():
        msg = "Expected a finite affine; got NaN or infinity. The header is damaged."
        raise NonFiniteError(msg)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    stated = np.abs(np.asarray(header.get_zooms()[:3], dtype=np.float64))
    low, high = LIMITS.spacing_mm
    if (spacing < low).any() or (spacing > high).any():
        msg = f"Expected voxels of {low} to {high} mm; got a value outside. The header is damaged."
        raise GeometryError(msg)
    if (np.abs(spacing - stated) > _SPACING_AGREES * spacing).any():
        msg = "Expected sform and pixdim to state the same voxel size; they differ. Convert from the original images."
        raise GeometryError(msg)
    return affine


def _values(image: Any) -> AnyArray:
    """(I, J, K) int16 where exact, else float32."""
    data = np.asarray(image.dataobj).reshape(image.shape[:3])
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        msg = "Expected finite voxel values; got NaN or infinity. The image or its scaling is damaged."
        raise NonFiniteError(msg)
    bounds = np.iinfo(np.int16)
    if data.size and bounds.min <= data.min() and data.max() <= bounds.max:
        whole = data.astype(np.int16)
        if data.dtype.kind in "iu" or np.array_equal(whole, data):
            return whole
    with np.errstate(over="ignore"):  # `Volume` refuses what becomes infinite
        return data.astype(np.float32)


def _unit(array: AnyArray) -> tuple[Unit, tuple[Notice, ...]]:
    if array.min() > _LOOKS_LIKE_HU:
        return "intensity", ()
    low = array[array < _TWICE_RESCALED_HU]
    if low.size and (low != low.min()).sum() > 0.005 * array.size:
        msg = "Expected Hounsfield units; many values lie far below air. The rescale was probably applied twice."
        raise NotHounsfieldError(msg)
    return "HU", (Notice("W_ASSUMED_HU", "NIfTI states no unit; the values look like Hounsfield units and are taken as such."),)
