from __future__ import annotations

import pytest

from medmm.errors import CorruptError
from medmm.sources.dicom.tags import Header


def header(big_endian: bool = False, **values: bytes) -> Header:
    return Header(values, "1.2.840.10008.1.2.1", big_endian=big_endian)


def test_text_loses_padding_and_case_and_is_split_at_backslashes() -> None:
    found = header(ImageType=b"original\\Primary \\AXIAL\0", Modality=b"CT\0")
    assert found.words("ImageType") == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert found.text("Modality") == "CT"
    assert (found.words("Units"), found.text("Units")) == ((), "")


@pytest.mark.parametrize(("value", "numbers"), [(b"1.5\\-2e1 ", (1.5, -20.0)), (b"", None), (b" \0", None)])
def test_decimal_numbers(value: bytes, numbers: tuple[float, ...] | None) -> None:
    assert header(PixelSpacing=value).numbers("PixelSpacing", 2) == numbers


@pytest.mark.parametrize("value", [b"1", b"1\\2\\3", b"1\\", b"a\\b", b"nan\\1", b"1\\inf"])
def test_what_is_not_so_many_finite_numbers_is_damaged(value: bytes) -> None:
    with pytest.raises(CorruptError, match="PixelSpacing"):
        header(PixelSpacing=value).numbers("PixelSpacing", 2)


def test_binary_numbers_follow_the_byte_order() -> None:
    assert header(Rows=b"\x02\x01").whole("Rows") == 258
    assert header(big_endian=True, Rows=b"\x02\x01").whole("Rows") == 513
    assert header().whole("Rows", 7) == 7
    with pytest.raises(CorruptError, match="Rows"):
        header(Rows=b"\x02").whole("Rows")


@pytest.mark.parametrize(("value", "count"), [(b"12 ", 12), (b"", 5), (b"x", -1), (b"1e999", -1)])
def test_counts(value: bytes, count: int) -> None:
    assert header(NumberOfFrames=value).count("NumberOfFrames", 5) == count
