"""Small files that hold a lot are refused early; ordinary ones come out as they went in."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medmm import open_study
from medmm.errors import InputError, TooLargeError, TruncatedError
from medmm.sources.archive import Entry, open_entries
from medmm.sources.inflate import gunzip, open_dicom


def entry_of(content: bytes) -> Entry:
    return Entry("SECRET", len(content), lambda: io.BytesIO(content))


@pytest.fixture
def deflated(ct: Any, tmp_path: Path) -> bytes:
    """A slice in Deflated Explicit VR Little Endian."""
    dataset = ct(1)[0]
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "deflated", dataset, enforce_file_format=True)
    return (tmp_path / "deflated").read_bytes()


def test_gzip_comes_out_as_it_went_in() -> None:
    content = np.random.default_rng(0).bytes(3 << 20)
    packed = gzip.compress(content[: 1 << 20]) + gzip.compress(content[1 << 20 :])
    assert gunzip(io.BytesIO(packed)) == content


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_gzip_cut_short_is_refused(share: float) -> None:
    packed = gzip.compress(np.random.default_rng(0).bytes(1 << 20))
    with pytest.raises(TruncatedError):
        gunzip(io.BytesIO(packed[: int(share * len(packed))]))


def test_a_gzip_bomb_is_refused_long_before_its_end() -> None:
    bomb = io.BytesIO(gzip.compress(bytes(100 << 20)))
    with pytest.raises(TooLargeError, match="bomb"):
        gunzip(bomb)


def test_more_than_was_promised_is_refused() -> None:
    packed = gzip.compress(bytes(3 << 20))
    assert len(gunzip(io.BytesIO(packed), 3 << 20)) == 3 << 20
    with pytest.raises(TooLargeError, match="at most 1,000 bytes"):
        gunzip(io.BytesIO(packed), 1000)


def test_a_deflated_data_set_becomes_the_same_elements_in_a_plain_one(deflated: bytes) -> None:
    theirs = pydicom.dcmread(io.BytesIO(deflated))
    with open_dicom(entry_of(deflated)) as file:
        ours = pydicom.dcmread(file)
    assert ours.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ours.file_meta.MediaStorageSOPInstanceUID == theirs.file_meta.MediaStorageSOPInstanceUID
    assert ours == theirs


def test_a_plain_file_is_handed_on_as_it_is(ct: Any, save: Any) -> None:
    with open_entries(save(ct(1))) as entries, open_dicom(entries[0]) as file:
        assert file.read() == entries[0].read()


def test_a_file_without_preamble_is_handed_on_as_it_is(deflated: bytes, ct: Any) -> None:
    plain = io.BytesIO()
    dataset = ct(1)[0]
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    pydicom.dcmwrite(plain, dataset, enforce_file_format=False, implicit_vr=True, little_endian=True)
    with open_dicom(entry_of(plain.getvalue())) as file:
        assert file.read() == plain.getvalue()
    with open_dicom(entry_of(deflated[132:])) as file:  # deflated, and only its meta information says so
        assert pydicom.dcmread(file) == pydicom.dcmread(io.BytesIO(deflated))


def test_a_deflate_bomb_is_refused_before_pydicom_sees_it(deflated: bytes) -> None:
    head = pydicom.dcmread(io.BytesIO(deflated), stop_before_pixels=True)
    start = 132 + 12 + head.file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflated[:start] + packer.compress(bytes(300 << 20)) + packer.flush()
    assert len(bomb) < 1 << 20
    with pytest.raises(TooLargeError, match="bomb"):
        open_dicom(entry_of(bomb))


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_deflated_data_set_cut_short_or_damaged_is_refused(deflated: bytes, keep: float) -> None:
    with pytest.raises(TruncatedError):
        open_dicom(entry_of(deflated[: int(400 + keep * (len(deflated) - 400))]))
    with pytest.raises(InputError):
        open_dicom(entry_of(deflated[:400] + b"\xff" * 100))


def test_a_deflated_series_is_read_like_a_plain_one(ct: Any, save: Any) -> None:
    slices = ct(3)
    plain = open_study(save(slices, "plain")).volumes[0]
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated = open_study(save(slices, "deflated")).volumes[0]
    np.testing.assert_array_equal(plain.array, deflated.array)


def test_no_warning_tells_a_value_of_the_header(deflated: bytes) -> None:
    content = deflated.replace(b"1.2.840.10008.1.2.1.99", b"SECRET.10008.1.2.1.99\0")
    assert content != deflated
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        open_dicom(entry_of(content)).close()
    assert [str(w.message) for w in said] == []
