"""Compressed bytes to plain ones, never more than was asked for: no library inflates what a stranger packed.

A file of 2 MB can hold 2 GB of zeros. Everything compressed is inflated here, in pieces, and refused as
soon as it gives more than its limit, or more than a real image could shrink.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

from medmm.errors import TooLargeError, TruncatedError
from medmm.hush import hushed
from medmm.settings import LIMITS
from medmm.sources.archive import Entry

GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_ALWAYS_FINE = 8 << 20  # so little may shrink as much as it likes


def gunzip(file: BinaryIO, limit: int = LIMITS.file_bytes) -> bytes:
    """Inflate a gzip file to its end, where its checksum stands.

    Args:
        file: At the beginning.
        limit: Bytes it may give.

    Raises:
        TooLargeError: If it gives more, or shrank more than an image can.
        TruncatedError: If it ends early or is damaged.
    """
    inflated, out = gzip.GzipFile(fileobj=file), io.BytesIO()
    try:
        while chunk := inflated.read(_CHUNK):
            out.write(chunk)
            _refuse_bomb(file.tell(), out.tell(), limit)
    except (OSError, EOFError, zlib.error):
        msg = "Expected a complete gzip file; this one ends early or is damaged. Copy it again."
        raise TruncatedError(msg) from None
    return out.getvalue()


def open_dicom(entry: Entry) -> BinaryIO:
    """Open a DICOM file; a deflated data set is inflated, so that pydicom never does it without a limit.

    Returns:
        The file as it is, or one in Explicit VR Little Endian with the same elements.

    Raises:
        TooLargeError, TruncatedError: As `gunzip`, for a deflated data set.
    """
    from pydicom.filereader import _read_file_meta_info, read_preamble  # only pydicom itself knows what it will take as deflated
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with ExitStack() as closing, hushed():
        file = closing.enter_context(entry.open())
        preamble = read_preamble(file, force=True)
        meta = _read_file_meta_info(file)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _undeflated(preamble or bytes(128), meta, file)
        file.seek(0)
        closing.pop_all()
        return file


def _undeflated(preamble: bytes, meta: Any, file: BinaryIO) -> BinaryIO:
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import ExplicitVRLittleEndian

    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    out.write(preamble + b"DICM")
    write_file_meta_info(out, meta, enforce_standard=False)
    try:
        for chunk in _inflate(file):
            out.write(chunk)
            _refuse_bomb(file.tell(), out.tell(), LIMITS.file_bytes)
    except zlib.error:
        msg = "Expected a complete deflated data set; this one ends early or is damaged. Copy the files again."
        raise TruncatedError(msg) from None
    out.seek(0)
    return out


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    """Pieces of a raw deflate stream."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    waiting = b""
    while not stream.eof:
        waiting = waiting or file.read(_CHUNK)
        if not waiting:
            msg = "it ends early"
            raise zlib.error(msg)
        yield stream.decompress(waiting, _CHUNK)
        waiting = stream.unconsumed_tail


def _refuse_bomb(packed: int, inflated: int, limit: int) -> None:
    if inflated > limit:
        msg = f"Expected at most {limit:,} bytes once inflated; got more. Crop or resample the image, or make the file again."
        raise TooLargeError(msg)
    if inflated > max(LIMITS.zip_ratio * packed, _ALWAYS_FINE):
        msg = f"Expected bytes that shrink at most {LIMITS.zip_ratio} to 1, as images do; got more. It looks like a bomb."
        raise TooLargeError(msg)
