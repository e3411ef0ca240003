"""Sizes read from real codestreams are right, and what contradicts the header never reaches a decoder."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from medmm.errors import CorruptError, InputError, TruncatedError
from medmm.sources.codestream import FrameSize, check_frame

SIZES = [(64, 33), (32, 300), (513, 130)]
WITH_HEADER = [JPEG2000Lossless, JPEGLSLossless, RLELossless]
HEADER_BYTES = {JPEG2000Lossless: 45, JPEGLSLossless: 12, RLELossless: 64, JPEGBaseline8Bit: 90}


def compress(ct: Any, syntax: UID, shape: tuple[int, int]) -> bytes:
    """One frame as a real encoder writes it."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint16)
    if syntax == JPEGBaseline8Bit:
        out = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG")
        return out.getvalue()
    dataset = ct(1, shape=shape, PixelData=pixels.tobytes())[0]
    dataset.compress(syntax, encoding_plugin="pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg")
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("syntax", [*WITH_HEADER, JPEGBaseline8Bit])
def test_a_frame_of_the_stated_size_passes(ct: Any, syntax: UID, shape: tuple[int, int]) -> None:
    check_frame(compress(ct, syntax, shape), syntax, FrameSize(*shape, 1, 16 if syntax in WITH_HEADER else 8))


@pytest.mark.parametrize("change", [(1, 0, 0), (0, 1, 0), (0, 0, 2)], ids=["rows", "columns", "samples"])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit])
def test_a_frame_of_another_size_is_refused(ct: Any, syntax: UID, change: tuple[int, int, int]) -> None:
    frame = compress(ct, syntax, (64, 32))
    rows, columns, samples = (a + b for a, b in zip((64, 32, 1), change, strict=True))
    with pytest.raises(CorruptError, match=f"{rows} x {columns} x {samples}; got 64 x 32 x 1"):
        check_frame(frame, syntax, FrameSize(rows, columns, samples, 16))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit])
def test_more_bits_than_are_allocated_are_refused(ct: Any, syntax: UID) -> None:
    with pytest.raises(CorruptError):
        check_frame(compress(ct, syntax, (64, 32)), syntax, FrameSize(64, 32, 1, 1))


@pytest.mark.parametrize("syntax", [*WITH_HEADER, JPEGBaseline8Bit])
def test_a_frame_cut_anywhere_or_of_noise_is_a_typed_error(ct: Any, syntax: UID) -> None:
    frame, rng = compress(ct, syntax, (64, 32)), np.random.default_rng(1)
    for cut in range(HEADER_BYTES[syntax]):
        with pytest.raises(InputError):
            check_frame(frame[:cut], syntax, FrameSize(64, 32, 1, 16))
    for _ in range(300):
        noise = rng.bytes(int(rng.integers(0, 200)))
        with pytest.raises(InputError):
            check_frame(noise, syntax, FrameSize(64, 32, 1, 16))


def test_a_forged_size_in_jpeg_2000_is_refused(ct: Any) -> None:
    frame = bytearray(compress(ct, JPEG2000Lossless, (64, 32)))
    struct.pack_into(">II", frame, 8, 60_000, 60_000)
    struct.pack_into(">II", frame, 24, 60_000, 60_000)  # in one tile
    with pytest.raises(CorruptError, match="got 60000 x 60000"):
        check_frame(bytes(frame), JPEG2000Lossless, FrameSize(64, 32, 1, 16))


@pytest.mark.parametrize(("offset", "value"), [(24, 1), (24, 0), (28, 0)], ids=["many tiles", "no width", "no height"])
def test_tiles_that_only_cost_memory_are_refused(ct: Any, offset: int, value: int) -> None:
    frame = bytearray(compress(ct, JPEG2000Lossless, (513, 130)))
    struct.pack_into(">I", frame, offset, value)
    struct.pack_into(">I", frame, 28, value)
    with pytest.raises(CorruptError):
        check_frame(bytes(frame), JPEG2000Lossless, FrameSize(513, 130, 1, 16))


def test_a_codestream_inside_a_jp2_file_is_found_and_its_absence_too(ct: Any) -> None:
    frame = compress(ct, JPEG2000Lossless, (64, 32))
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    wrapped = signature + struct.pack(">I4s", 8 + len(frame), b"jp2c") + frame
    check_frame(wrapped, JPEG2000Lossless, FrameSize(64, 32, 1, 16))
    for without in (signature, signature + bytes(8), signature + struct.pack(">I4s", 9, b"free") + b"x"):
        with pytest.raises(InputError):
            check_frame(without, JPEG2000Lossless, FrameSize(64, 32, 1, 16))


def test_an_rle_frame_too_short_for_its_pixels_is_refused() -> None:
    frame = struct.pack("<16I", 2, 64, 72, *[0] * 13) + bytes(16)
    with pytest.raises(TruncatedError):
        check_frame(frame, RLELossless, FrameSize(30_000, 30_000, 1, 16))
    with pytest.raises(CorruptError):
        check_frame(frame, RLELossless, FrameSize(8, 8, 1, 8))


def test_other_encodings_are_not_looked_at() -> None:
    check_frame(b"anything", "1.2.840.10008.1.2.1", FrameSize(8, 8, 1, 16))


def test_every_real_compressed_file_passes(shared_data: Path) -> None:
    checked = 0
    for file in sorted((shared_data / "dicom").rglob("*")):
        if not file.is_file():
            continue
        try:
            dataset = pydicom.dcmread(file)
            syntax = dataset.file_meta.TransferSyntaxUID
            if not syntax.is_encapsulated or "PixelData" not in dataset or "Rows" not in dataset:
                continue
        except (pydicom.errors.InvalidDicomError, AttributeError):
            continue
        size = FrameSize(dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.BitsAllocated)
        for frame in generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))):
            check_frame(frame, syntax, size)
            checked += 1
    assert checked > 10
