"""What a compressed frame says about itself, read before any decoder believes it.

Decoders allocate what the codestream states, not what DICOM's Rows and Columns do: 3 KB that state
60,000 x 60,000 cost gigabytes. The few bytes of a JPEG, JPEG-LS, JPEG 2000 or RLE header that hold the
size are parsed here and must agree with the data set.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from medmm.errors import CorruptError, TruncatedError

_JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 57, 70, 80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 92, 93, 201, 202, 203)}
_RLE = "1.2.840.10008.1.2.5"
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # 0xF7 is JPEG-LS
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_TILES = 4096  # each costs a decoder some kilobytes, however small
_RLE_SHRINKS = 64  # two bytes stand for at most 128


class FrameSize(NamedTuple):
    """Size of one decoded frame."""

    rows: int
    columns: int
    samples: int
    bits: int  # a sample


def check_frame(frame: bytes, syntax: str, stated: FrameSize) -> None:
    """Refuse a compressed frame that is not of the size its data set states. Other encodings pass.

    Args:
        frame: All fragments of one frame.
        syntax: Transfer syntax UID.
        stated: What the data set says; `bits` is BitsAllocated.

    Raises:
        CorruptError: If the codestream is no such codestream, or of another size.
        TruncatedError: If it is too short for what it states.
    """
    if syntax == _RLE:
        _check_rle(frame, stated)
        return
    if syntax not in _JPEG | _JPEG_2000:
        return
    try:
        found = _jpeg_size(frame) if syntax in _JPEG else _jpeg_2000_size(frame)
    except (struct.error, IndexError):
        msg = "Expected a complete compressed frame; one ends within its header. Copy the files again."
        raise TruncatedError(msg) from None
    if found[:3] != stated[:3] or found.bits > stated.bits:
        msg = (
            f"Expected compressed pixels of the size the header states, {stated.rows} x {stated.columns} x {stated.samples}; "
            f"got {found.rows} x {found.columns} x {found.samples}. The file is damaged."
        )
        raise CorruptError(msg)


def _jpeg_size(frame: bytes) -> FrameSize:
    """From the start-of-frame segment of a JPEG or JPEG-LS stream."""
    if frame[:2] != b"\xff\xd8":
        raise _no_codestream()
    position = 2
    while True:
        if frame[position] != 0xFF:
            raise _no_codestream()
        marker = frame[position + 1]
        if marker in _START_OF_FRAME:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
            return FrameSize(rows, columns, samples, bits)
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", frame, position + 2)[0]


def _jpeg_2000_size(frame: bytes) -> FrameSize:
    """From the SIZ segment of a JPEG 2000 codestream, which a few writers put into a JP2 file."""
    if frame[4:8] == b"jP  ":
        frame = frame[_codestream_box(frame) :]
    if frame[:4] != b"\xff\x4f\xff\x51":
        raise _no_codestream()
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8I", frame, 8)
    samples = struct.unpack_from(">H", frame, 40)[0]
    components = [struct.unpack_from(">3B", frame, 42 + 3 * i) for i in range(samples)]
    if not tile_width or not tile_height or not components:
        raise _no_codestream()
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if not 0 < tiles <= _TILES or any((across, down) != (1, 1) for _, across, down in components):
        msg = f"Expected a JPEG 2000 image of at most {_TILES:,} tiles, not subsampled; got another. Convert it first."
        raise CorruptError(msg)
    return FrameSize(bottom - top, right - left, samples, max((depth & 0x7F) + 1 for depth, _, _ in components))


def _codestream_box(file: bytes) -> int:
    """Where the codestream of a JP2 file begins."""
    position = 0
    while True:
        length, kind = struct.unpack_from(">I4s", file, position)
        if kind == b"jp2c":
            return position + (16 if length == 1 else 8)
        if length < 8:  # the last box, or one of more than 4 GB: there is no codestream behind it
            raise _no_codestream()
        position += length


def _check_rle(frame: bytes, stated: FrameSize) -> None:
    segments = stated.samples * -(-stated.bits // 8)
    if len(frame) < 64 or struct.unpack_from("<I", frame)[0] != segments:
        msg = f"Expected {segments} RLE segments; the frame states another number. The file is damaged."
        raise CorruptError(msg)
    if _RLE_SHRINKS * len(frame) < segments * stated.rows * stated.columns:
        msg = f"Expected {stated.rows} x {stated.columns} pixels; a frame is too short to hold them. Copy the files again."
        raise TruncatedError(msg)


def _no_codestream() -> CorruptError:
    msg = "Expected pixels compressed as the transfer syntax says; got something else. The file is damaged."
    return CorruptError(msg)
