"""What decoding a DICOM data set would cost, known from its header before a pixel is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from medmm.errors import CorruptError, TooLargeError
from medmm.settings import LIMITS
from medmm.sources.codestream import FrameSize, check_frame

_BITS = (1, 8, 16, 32, 64)


def check_pixels(dataset: Any) -> None:
    """Refuse a data set whose pixels would be too many, or whose compressed frames are not what its header says.

    Args:
        dataset: A pydicom data set with its file meta; `PixelData` may be absent, then only the header is checked.

    Raises:
        TooLargeError: If it is over `LIMITS` on the pixels of a plane, voxels, or decoded bytes.
        CorruptError, TruncatedError: If the header or a compressed frame contradicts itself.
    """
    frames = _count(dataset, "NumberOfFrames", 1)
    rows, columns = _count(dataset, "Rows"), _count(dataset, "Columns")
    size = FrameSize(rows, columns, _count(dataset, "SamplesPerPixel", 1), _count(dataset, "BitsAllocated", 16))
    if size.bits not in _BITS:
        msg = f"Expected BitsAllocated to be one of {', '.join(map(str, _BITS))}; got {size.bits}. The header is damaged."
        raise CorruptError(msg)
    check_size(frames, size)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None and syntax.is_encapsulated and "PixelData" in dataset:
        for frame in _frames(dataset, frames):
            check_frame(frame, str(syntax), size)


def check_size(frames: int, size: FrameSize) -> None:
    """Refuse what would be too much once decoded.

    Raises:
        TooLargeError: If it is over `LIMITS` on the pixels of a plane, voxels, or decoded bytes.
    """
    plane = size.rows * size.columns
    if plane > LIMITS.plane_pixels:
        msg = f"Expected planes of at most {LIMITS.plane_pixels:,} pixels; the header states {plane:,}. Make the image smaller."
        raise TooLargeError(msg)
    voxels = frames * plane
    if voxels > LIMITS.voxels or voxels * size.samples * max(size.bits // 8, 1) > LIMITS.file_bytes:
        msg = f"Expected at most {LIMITS.voxels:,} voxels and {LIMITS.file_bytes >> 20:,} MB of them; the header states more."
        raise TooLargeError(msg)


def _count(dataset: Any, keyword: str, default: int = 0) -> int:
    value: Any = dataset.get(keyword)
    try:
        count = int(default if value is None or value == "" else value)
    except (TypeError, ValueError, OverflowError):
        count = 0
    if count < 1:
        msg = f"Expected a positive whole number in {keyword}; got something else. The header is damaged."
        raise CorruptError(msg)
    return count


def _frames(dataset: Any, count: int) -> Iterable[bytes]:
    """Each compressed frame of an encapsulated data set."""
    from pydicom.encaps import generate_frames

    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    extended = offsets if None not in offsets else None
    frames: Iterable[bytes] = generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=extended)
    return frames
