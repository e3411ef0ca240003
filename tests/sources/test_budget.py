"""What a header promises is counted before a pixel is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from medmm.errors import CorruptError, InputError, TooLargeError, TruncatedError
from medmm.settings import LIMITS
from medmm.sources.budget import check_pixels, check_size
from medmm.sources.codestream import FrameSize


def test_an_ordinary_slice_passes_with_and_without_its_pixels(ct: Any) -> None:
    dataset = ct(1)[0]
    check_pixels(dataset)
    del dataset.PixelData
    check_pixels(dataset)
    check_pixels(ct(1, NumberOfFrames="")[0])


@pytest.mark.parametrize(
    "header",
    [
        {"Rows": 65_535, "Columns": 65_535},
        {"NumberOfFrames": 2_000_000_000},
        {"Rows": 30_000, "Columns": 30_000},
        {"Rows": 8_000, "Columns": 8_000, "NumberOfFrames": 100},
        {"Rows": 4_096, "Columns": 4_096, "NumberOfFrames": 16, "BitsAllocated": 64},
    ],
)
def test_too_much_is_refused(ct: Any, header: dict[str, int]) -> None:
    with pytest.raises(TooLargeError):
        check_pixels(ct(1, **header)[0])


def test_the_largest_allowed_passes_and_one_more_plane_does_not() -> None:
    check_size(1024, FrameSize(512, 512, 1, 16))
    with pytest.raises(TooLargeError):
        check_size(1025, FrameSize(512, 512, 1, 16))
    side = int(LIMITS.plane_pixels**0.5)
    check_size(1, FrameSize(side, side, 1, 16))
    with pytest.raises(TooLargeError):
        check_size(1, FrameSize(side + 1, side, 1, 16))


@pytest.mark.parametrize(
    ("keyword", "value"), [("Rows", 0), ("Columns", 0), ("NumberOfFrames", 0), ("NumberOfFrames", -3), ("BitsAllocated", 13)]
)
def test_numbers_that_make_no_sense_are_refused(ct: Any, keyword: str, value: int) -> None:
    with pytest.raises(CorruptError, match=keyword):
        check_pixels(ct(1, **{keyword: value})[0])


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_size_must_be_stated(ct: Any, keyword: str) -> None:
    dataset = ct(1)[0]
    del dataset[keyword]
    with pytest.raises(CorruptError, match=keyword):
        check_pixels(dataset)


def test_every_frame_of_an_encapsulated_data_set_is_checked(ct: Any) -> None:
    frames = []
    for shape in ((32, 32), (32, 32), (33, 32)):
        dataset = ct(1, shape=shape)[0]
        dataset.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
        frames.append(next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)))
    dataset = ct(1, shape=(32, 32), NumberOfFrames=2)[0]
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    for contained, fits in ((frames[:2], True), (frames[1:], False)):
        dataset.PixelData = encapsulate(contained)
        if fits:
            check_pixels(dataset)
        else:
            with pytest.raises(CorruptError, match="got 33 x 32"):
                check_pixels(dataset)


def test_a_claim_of_billions_of_frames_costs_nothing(ct: Any) -> None:
    dataset = ct(1, NumberOfFrames=2_000_000_000)[0]
    dataset.file_meta.TransferSyntaxUID = RLELossless
    with pytest.raises(TooLargeError):
        check_pixels(dataset)


def test_few_bytes_that_stand_for_many_pixels_are_refused(ct: Any) -> None:
    dataset = ct(1, Rows=8_000, Columns=8_000)[0]
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([np.array([2, 64, 72] + [0] * 13, "<u4").tobytes() + bytes(16)])
    with pytest.raises(TruncatedError):
        check_pixels(dataset)


def test_encapsulation_of_noise_is_refused(ct: Any) -> None:
    dataset = ct(1)[0]
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00noise"[:24]
    with pytest.raises((InputError, ValueError)):
        check_pixels(dataset)
