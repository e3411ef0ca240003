"""A DICOM series to one volume: order and spacing from positions, intensities to HU slice by slice.

Order and distances come from ImagePositionPatient projected on the slice normal, never from
InstanceNumber, SliceLocation or SliceThickness. What does not add up to one regular volume is
refused with its own error (table of cases: docs/reading.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from medmm.errors import (
    CorruptError,
    DuplicatePositionError,
    GeometryError,
    IrregularSpacingError,
    MedmmError,
    MissingSlicesError,
    NonFiniteError,
    NotHounsfieldError,
    TooLargeError,
    TransferSyntaxError,
    TruncatedError,
)
from medmm.geometry import Grid, lps_to_ras
from medmm.settings import LIMITS
from medmm.sources.archive import Entry
from medmm.sources.inventory import RULE, Series, Slice, take_inventory
from medmm.study import Notice, Provenance, Study, Volume
from medmm.types import AnyArray, FloatArray, Unit

AIR_HU = -1024
_OFF_GRID_MM, _OFF_GRID = 0.05, 0.05  # a slice may be this far (mm, share of the step) from its regular place
_SAME_PLACE_MM = 0.01
_TILT = 0.9998  # cosine of about 1.1 degrees between slice normal and stacking direction
_ORTHONORMAL = 1e-2
_TWICE_RESCALED_HU = -1500  # air is near -1000 in HU; a body of numbers below this was rescaled twice
_FIRST_ELEMENTS = (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00")  # low group numbers, file meta or identifying
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes look like DICOM, with or without a preamble."""
    if head[128:132] == b"DICM":
        return True
    return len(head) > 8 and head[:2] in (b"\x08\x00", b"\x02\x00") and head[2:4] in _FIRST_ELEMENTS


def read_study(entries: list[Entry], series: str | None = None) -> Study:
    """Read the best series among DICOM files.

    Args:
        entries: Files recognised by `is_dicom`.
        series: SeriesInstanceUID to read instead of the one `inventory.RULE` picks.

    Returns:
        A study with one volume, its provenance and notices.

    Raises:
        InputError: One of its leaves for everything that is not one regular volume.
    """
    inventory = take_inventory(entries)
    chosen = inventory.choose(series)
    volume, notices = _assemble(chosen)
    others = tuple((f"another series: {s.describe()}", len(s.slices)) for s in inventory.series if s is not chosen)
    if others:
        listing = "; ".join(reason.removeprefix("another series: ") for reason, _ in others)
        message = f"Read the {chosen.describe()} (rule: {RULE}). Not read: {listing}."
        notices = [Notice("W_OTHER_SERIES", message), *notices]
    if inventory.left_out:
        listing = "; ".join(f"{count} x {reason}" for reason, count in inventory.left_out)
        notices.append(Notice("W_LEFT_OUT", f"Files left out: {listing}."))
    provenance = Provenance(
        source="dicom",
        chosen=chosen.describe(),
        rule="named by the caller" if series else RULE,
        left_out=(*others, *inventory.left_out),
    )
    return Study(volumes=(volume,), notices=tuple(notices), provenance=provenance)


def measure(series: Series) -> tuple[Grid, list[Notice]]:
    """Geometry of a series and what to know of it, from its headers alone.

    Raises:
        GeometryError: If its slices are not one regular volume; a leaf says why.
    """
    stack, notices = _stack(series)
    return stack.grid, notices


class _Stack(NamedTuple):
    slices: list[Slice]  # in spatial order
    grid: Grid


def _assemble(series: Series) -> tuple[Volume, list[Notice]]:
    stack, notices = _stack(series)
    size = len(stack.slices) * series.slices[0].rows * series.slices[0].columns
    if size > LIMITS.voxels:
        msg = f"Expected at most {LIMITS.voxels:,} voxels; the series has {size:,}. Point to a smaller series."
        raise TooLargeError(msg)
    planes, padded = [], 0
    for position in stack.slices:
        plane, padding = _read_plane(position, series.modality)
        planes.append(plane)
        padded += padding
    stored = np.stack(planes)  # (K, rows, columns)
    if series.modality == "CT":
        _refuse_twice_rescaled(stored)
    if padded:
        share = padded / stored.size
        notices.append(Notice("W_PADDING", f"{share:.1%} of voxels are padding outside the scan; set to {AIR_HU} HU."))
    unit: Unit = "HU" if series.modality == "CT" else "intensity"
    array = stored.transpose(2, 1, 0)[np.newaxis]  # columns, rows, slices = I, J, K
    return Volume(array, stack.grid, unit, series.modality), notices


def _stack(series: Series) -> tuple[_Stack, list[Notice]]:
    """Order the slices along their normal and prove that they are regularly spaced."""
    orientation, spacing = _common_geometry(series)
    across, down = orientation[:3], orientation[3:]  # unit vectors: along a row, along a column
    normal = np.cross(across, down)
    positions = np.asarray([s.position for s in series.slices])
    order = np.argsort(positions @ normal, kind="stable")
    slices = [series.slices[i] for i in order]
    positions = positions[order]
    notices = []
    if len(slices) == 1:
        step = normal
        message = "Only one slice: the distance between slices cannot be measured and is set to 1 mm."
        notices.append(Notice("W_SINGLE_SLICE", message))
    else:
        step = _regular_step(positions, normal)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3] = across * spacing[1], down * spacing[0], step, positions[0]
    first = slices[0]
    return _Stack(slices, Grid((first.columns, first.rows, len(slices)), lps_to_ras(lps))), notices


def _common_geometry(series: Series) -> tuple[FloatArray, FloatArray]:
    """The orientation (6,) and pixel spacing (2,) that all slices share."""
    first = series.slices[0]
    if any(s.position is None or s.orientation is None or s.spacing is None for s in series.slices):
        msg = (
            "Expected ImagePositionPatient, ImageOrientationPatient and PixelSpacing in every slice; "
            "at least one lacks them. Export the original series again."
        )
        raise GeometryError(msg)
    assert first.orientation is not None  # checked above for all slices
    assert first.spacing is not None
    across, down = first.orientation[:3], first.orientation[3:]
    frame = np.stack([across, down])
    if np.abs(frame @ frame.T - np.eye(2)).max() > _ORTHONORMAL:
        msg = "Expected perpendicular unit vectors in ImageOrientationPatient; got others. The header is damaged."
        raise GeometryError(msg)
    low, high = LIMITS.spacing_mm
    spacings = np.asarray([s.spacing for s in series.slices])
    if (spacings < low).any() or (spacings > high).any():
        msg = f"Expected a PixelSpacing of {low} to {high} mm; got a value outside. The header is damaged."
        raise GeometryError(msg)
    if np.ptp(spacings, axis=0).max() > 1e-3 * spacings.min():
        msg = "Expected one PixelSpacing in a series; got several. Split the series by spacing first."
        raise GeometryError(msg)
    norms = np.linalg.norm(frame, axis=1)
    return np.concatenate([across / norms[0], down / norms[1]]), first.spacing


def _regular_step(positions: FloatArray, normal: FloatArray) -> FloatArray:
    """The vector from one slice to the next, (3,) LPS mm, after checks on every slice.

    Args:
        positions: (K, 3) LPS mm, ordered along `normal`.
        normal: (3,) unit normal of the slices.
    """
    distances = np.diff(positions @ normal)
    same = int((distances < _SAME_PLACE_MM).sum())
    if same:
        msg = (
            f"Expected every slice at its own position; {same} of {len(positions)} repeat one. "
            "The series holds several phases or copies: separate them first."
        )
        raise DuplicatePositionError(msg)
    step = float(np.median(distances))
    gaps = np.rint(distances / step).astype(int)
    tolerance = max(_OFF_GRID_MM, _OFF_GRID * step)
    if (gaps > 1).any() and (np.abs(distances - gaps * step) < 2 * tolerance).all():
        missing = int((gaps - 1).sum())
        after = ", ".join(str(i + 1) for i in np.flatnonzero(gaps > 1)[:5])
        msg = (
            f"Expected slices every {step:.3g} mm; {missing} missing after slice {after} of {len(positions)}. "
            "Export the complete series."
        )
        raise MissingSlicesError(msg)
    vector: FloatArray = (positions[-1] - positions[0]) / (len(positions) - 1)
    off_grid = np.linalg.norm(positions - (positions[0] + np.arange(len(positions))[:, None] * vector), axis=1)
    if off_grid.max() > tolerance:
        msg = (
            f"Expected evenly spaced slices; distances run from {distances.min():.3g} to {distances.max():.3g} mm. "
            "Reconstruct or resample the series first."
        )
        raise IrregularSpacingError(msg)
    low, high = LIMITS.spacing_mm
    if not low <= step <= high:
        msg = f"Expected slices {low} to {high} mm apart; got {step:.4g} mm. The positions are not believable."
        raise GeometryError(msg)
    cosine = float(vector @ normal / np.linalg.norm(vector))
    if cosine < _TILT:
        tilt = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        msg = (
            f"Expected slices stacked along their normal; they are sheared by {tilt:.1f} degrees (gantry tilt). "
            "Deskew the series first."
        )
        raise GeometryError(msg)
    return vector


def _read_plane(header: Slice, modality: str) -> tuple[AnyArray, int]:
    """Decode one slice to (rows, columns) in its physical unit; also the number of padding voxels."""
    import pydicom

    with _foreign_bytes(), header.entry.open() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file, force=True)
        stored = _decode(dataset, header)
        slope, intercept = _rescale(dataset, modality)
        padding = _padding_mask(dataset, stored)
    values = _rescaled(stored, slope, intercept)
    if padding is None:
        return values, 0
    values[padding] = AIR_HU if modality == "CT" else values.min()
    return values, int(padding.sum())


def _rescaled(stored: AnyArray, slope: float, intercept: float) -> AnyArray:
    """Stored values in their unit: int16 where that is exact, else float32 (infinity is refused with the volume)."""
    with np.errstate(over="ignore"):
        values: AnyArray = stored.astype(np.float64) * slope + intercept
        whole = slope.is_integer() and intercept.is_integer()
        return values.astype(np.int16 if whole and np.abs(values).max(initial=0) < 1 << 15 else np.float32)


def _decode(dataset: Any, header: Slice) -> AnyArray:
    """Stored pixel values (rows, columns) before rescale."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import ImplicitVRLittleEndian

    if not hasattr(dataset, "file_meta") or "TransferSyntaxUID" not in dataset.file_meta:
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    if "PixelData" not in dataset:
        msg = "Expected pixel data in every slice; one has none. Export the series again."
        raise CorruptError(msg)
    syntax = dataset.file_meta.TransferSyntaxUID
    expected = header.rows * header.columns * int(dataset.BitsAllocated) // 8
    if not syntax.is_compressed and len(dataset.PixelData) < expected:
        msg = f"Expected {expected:,} bytes of pixels in every slice; one has {len(dataset.PixelData):,}. Copy the files again."
        raise TruncatedError(msg)
    plugin = "pyjpegls" if syntax in _JPEG_LS else "pylibjpeg" if syntax.is_encapsulated else ""
    try:
        decoded: AnyArray = pixel_array(dataset, decoding_plugin=plugin)
    except NotImplementedError:
        msg = f"Expected pixels in an encoding that is decoded here; got {syntax.name}. Convert to Explicit VR Little Endian."
        raise TransferSyntaxError(msg) from None
    if decoded.shape != (header.rows, header.columns):
        msg = "Expected pixels of the size the header states; got another. The file is damaged."
        raise CorruptError(msg)
    return decoded


def _rescale(dataset: Any, modality: str) -> tuple[float, float]:
    """Slope and intercept of this slice."""
    if "RescaleSlope" not in dataset or "RescaleIntercept" not in dataset:
        if modality == "CT":
            msg = "Expected RescaleSlope and RescaleIntercept in every CT slice; one lacks them. Its values may not be HU."
            raise NotHounsfieldError(msg)
        return 1.0, 0.0
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    if not np.isfinite([slope, intercept]).all():
        msg = "Expected finite RescaleSlope and RescaleIntercept; got NaN or infinity. The header is damaged."
        raise NonFiniteError(msg)
    if slope <= 0:
        msg = f"Expected a positive RescaleSlope; got {slope:g}. The header is damaged."
        raise NotHounsfieldError(msg)
    return slope, intercept


def _padding_mask(dataset: Any, stored: AnyArray) -> AnyArray | None:
    """Where stored values are padding, None when nowhere."""
    if "PixelPaddingValue" not in dataset:
        return None
    first = int(dataset.PixelPaddingValue)
    last = int(dataset.get("PixelPaddingRangeLimit", first))
    mask: AnyArray = (stored >= min(first, last)) & (stored <= max(first, last))
    return mask if mask.any() else None


def _refuse_twice_rescaled(stored: AnyArray) -> None:
    """Raise when the body of the values lies below what HU can be.

    Scanners fill the corners outside the field of view with one constant far below air; that
    constant is not counted.
    """
    low = stored[stored < _TWICE_RESCALED_HU]
    if low.size and (low != low.min()).sum() > 0.005 * stored.size:
        msg = "Expected Hounsfield units; many values lie far below air. The rescale was probably applied twice."
        raise NotHounsfieldError(msg)


@contextmanager
def _foreign_bytes() -> Iterator[None]:
    """Turn whatever a parser or decoder throws at damaged bytes into one typed error without content."""
    try:
        yield
    except MedmmError:
        raise
    except (Exception, RecursionError, MemoryError):
        msg = "Expected readable DICOM slices; one is damaged. Copy or export the files again."
        raise CorruptError(msg) from None
