"""Frames of one DICOM file to stored values, by codecs chosen by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from medmm.errors import CorruptError, TransferSyntaxError, TruncatedError
from medmm.sources.budget import check_pixels
from medmm.sources.foreign import foreign_bytes
from medmm.types import AnyArray

_DAMAGED = "Expected readable DICOM slices; one is damaged. Copy or export the files again."
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")


def decode_file(file: BinaryIO, frames: Sequence[int], shape: tuple[int, int]) -> Iterator[AnyArray]:
    """Decode frames of one DICOM file.

    Args:
        file: At its beginning.
        frames: Indices.
        shape: Rows and columns that each must have.
    """
    with foreign_bytes(_DAMAGED):
        dataset = _dataset(file)
    for frame in frames:
        with foreign_bytes(_DAMAGED):
            decoded = _decode(dataset, frame, shape)
        yield decoded


def _dataset(file: BinaryIO) -> Any:
    import pydicom

    dataset = pydicom.dcmread(file, force=True)
    if "PixelData" not in dataset:
        msg = "Expected pixel data in every slice; one has none. Export the series again."
        raise CorruptError(msg)
    dataset.ensure_file_meta()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        uid = pydicom.uid
        dataset.file_meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        )
    check_pixels(dataset)
    return dataset


def _decode(dataset: Any, frame: int, shape: tuple[int, int]) -> AnyArray:
    from pydicom.pixels import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    expected = shape[0] * shape[1] * int(dataset.BitsAllocated) // 8 * (frame + 1)
    if not syntax.is_compressed and len(dataset.PixelData) < expected:
        msg = f"Expected {expected:,} bytes of pixels; the file has {len(dataset.PixelData):,}. Copy the files again."
        raise TruncatedError(msg)
    plugin = "pyjpegls" if syntax in _JPEG_LS else "pylibjpeg" if syntax.is_encapsulated else ""
    try:
        decoded: AnyArray = pixel_array(dataset, index=frame, decoding_plugin=plugin)
    except NotImplementedError:
        msg = f"Expected pixels in an encoding that is decoded here; got {syntax.name}. Convert to Explicit VR Little Endian."
        raise TransferSyntaxError(msg) from None
    if decoded.shape != shape:
        msg = "Expected pixels of the size the header states; got another. The file is damaged."
        raise CorruptError(msg)
    return decoded.astype(decoded.dtype.newbyteorder("="), copy=not decoded.flags.writeable)
