"""DICOM built to hurt: forged sizes, bombs, deep nesting, truncation, lies in headers, files that name other files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from medmm.errors import BudgetError
from medmm.settings import LIMITS
from medmm.sources.jail import Jail

Make = Callable[..., list[Dataset]]
Check = Callable[[Path, str], None]
Build = Callable[[Make, Path], Path]
"""Writes an input into an empty folder, given a maker of CT slices; returns what to open."""

ACCEPTED = ""
VECTORS: list[tuple[str, str, Build]] = []
"""Name, how it must end, and how it is built."""


def vector(code: str, name: str = "") -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        VECTORS.append((name or build.__name__, code, build))
        return build

    return register


def write(dataset: Dataset, path: Path) -> Path:
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def changed_slices(code: str, name: str, change: Callable[[list[Dataset]], None], count: int = 10) -> None:
    """A folder with a series in which something is wrong."""

    def build(ct: Make, folder: Path) -> Path:
        slices = ct(count)
        change(slices)
        for i, dataset in enumerate(slices):
            pydicom.dcmwrite(folder / f"{i:03d}", dataset, enforce_file_format=True)
        return folder

    VECTORS.append((name, code, build))


def raw(dataset: Dataset, keyword: str, value: str) -> None:
    """Put a value that pydicom would not write as what it is."""
    dataset[keyword] = pydicom.DataElement(keyword, "LO", value)


# DICOM: sizes


def claims(code: str, name: str, compressed: bool = False, **header: int) -> None:
    def build(ct: Make, folder: Path) -> Path:
        dataset = ct(1, **header)[0]
        dataset.PixelData = bytes(32 << 10)
        if compressed:
            dataset.file_meta.TransferSyntaxUID = RLELossless
            dataset.PixelData = encapsulate([struct.pack("<16I", 2, 64, 72, *[0] * 13) + bytes(16)])
        return write(dataset, folder / "a")

    VECTORS.append((name, code, build))


claims("E_TOO_LARGE", "huge_claim", Rows=65_535, Columns=65_535)
claims("E_NO_IMAGE", "huge_claim_of_frames", Rows=65_535, Columns=65_535, NumberOfFrames=10_000)
claims("E_NO_IMAGE", "raw_2e9_frames", NumberOfFrames=2_000_000_000)
claims("E_NO_IMAGE", "rle_2e9_frames", compressed=True, NumberOfFrames=2_000_000_000)
claims("E_TOO_LARGE", "rle_claim_30000", compressed=True, Rows=30_000, Columns=30_000)
claims("E_CORRUPT", "thirteen_bits", BitsAllocated=13)
claims("E_TRUNCATED", "rle_claim_8000", compressed=True, Rows=8_000, Columns=8_000)


@vector("E_TOO_LARGE")
def rle_bomb_1gb(ct: Make, folder: Path) -> Path:
    """16.8 MB that really hold 1 GB of zeros."""
    dataset = ct(1, Rows=32_768, Columns=16_384)[0]
    segment = b"\x81\x00" * (32_768 * 16_384 // 128)
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([header + 2 * segment])
    return write(dataset, folder / "a")


@vector("E_CORRUPT")
def j2k_forged_size(ct: Make, folder: Path) -> Path:
    """Small in DICOM, 60,000 x 60,000 in the codestream."""
    dataset = ct(1, shape=(64, 64))[0]
    dataset.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
    frame = bytearray(next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)))
    struct.pack_into(">II", frame, 8, 60_000, 60_000)
    struct.pack_into(">II", frame, 24, 60_000, 60_000)
    dataset.PixelData = encapsulate([bytes(frame)])
    return write(dataset, folder / "a")


@vector("E_TOO_LARGE")
def deflate_bomb(ct: Make, folder: Path) -> Path:
    """Half a megabyte that inflates to half a gigabyte."""
    dataset = ct(1)[0]
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = write(dataset, folder / "a").read_bytes()
    start = 132 + 12 + pydicom.dcmread(folder / "a").file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    (folder / "a").write_bytes(content[:start] + bomb)
    return folder / "a"


# DICOM: structure


def nested(depth: int) -> None:
    def build(ct: Make, folder: Path) -> Path:
        """Sequences of undefined length within each other."""
        dataset = ct(1)[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        write(dataset, folder / "a")
        begin = struct.pack("<HHI", 0x0008, 0x1140, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        content = (folder / "a").read_bytes()
        at = content.index(struct.pack("<HH", 0x0008, 0x0060))
        (folder / "a").write_bytes(content[:at] + begin * depth + end * depth + content[at:])
        return folder / "a"

    VECTORS.append((f"nested_{depth}", "E_NO_IMAGE", build))


nested(1_000)
nested(20_000)


@vector(ACCEPTED)
def a_million_private_elements(ct: Make, folder: Path) -> Path:
    content = write(ct(1)[0], folder / "a").read_bytes()
    elements = b"".join(struct.pack("<HH2sH", 0x0009, 0x1000 + i % 0xE000, b"LO", 0) for i in range(1_000_000))
    at = content.index(struct.pack("<HH", 0x0010, 0x0010))
    (folder / "a").write_bytes(content[:at] + elements + content[at:])
    return folder / "a"


@vector("E_NO_IMAGE")
def element_of_four_gigabytes(ct: Make, folder: Path) -> Path:
    content = bytearray(write(ct(1)[0], folder / "a").read_bytes())
    at = content.index(struct.pack("<HH", 0x0008, 0x0016))
    content[at:at] = struct.pack("<HH2sHI", 0x0008, 0x0014, b"UN", 0, 0xFFFFFFF0)
    (folder / "a").write_bytes(content)
    return folder / "a"


@vector("E_TRUNCATED")
def pixels_of_two_gigabytes(ct: Make, folder: Path) -> Path:
    content = bytearray(write(ct(1, shape=(64, 64))[0], folder / "a").read_bytes())
    at = content.index(struct.pack("<HH", 0x7FE0, 0x0010))
    struct.pack_into("<I", content, at + 8, 0x7FFFFFF0)
    (folder / "a").write_bytes(content[: at + 12 + 1000])
    return folder / "a"


@vector(ACCEPTED)
def executable_in_the_preamble(ct: Make, folder: Path) -> Path:
    content = write(ct(1)[0], folder / "a").read_bytes()
    (folder / "a").write_bytes(b"\x7fELF\x02\x01\x01" + content[7:])
    return folder / "a"


@vector(ACCEPTED)
def script_and_formula_as_names(ct: Make, folder: Path) -> Path:
    dataset = ct(1)[0]
    raw(dataset, "PatientName", "<script>alert(1)</script>")
    raw(dataset, "StudyDescription", "=cmd|' /C calc'!A0")
    raw(dataset, "SOPInstanceUID", "../../../etc/passwd")
    dataset.preamble = bytes(128)
    pydicom.dcmwrite(folder / "a", dataset)  # unchecked
    return folder / "a"


@vector(ACCEPTED)
def dicomdir_that_points_outside(ct: Make, folder: Path) -> Path:
    write(ct(1)[0], folder / "a")
    index, record = ct(1)[0], Dataset()
    raw(record, "ReferencedFileID", "..\\..\\etc\\passwd")
    index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    index.DirectoryRecordSequence = [record]
    write(index, folder / "DICOMDIR")
    return folder


for keep in (0.1, 0.3, 0.5, 0.9, 0.99):

    def cut(ct: Make, folder: Path, keep: float = keep) -> Path:
        content = write(ct(1, shape=(64, 64))[0], folder / "a").read_bytes()
        (folder / "a").write_bytes(content[: int(keep * len(content))])
        return folder / "a"

    VECTORS.append((f"truncated_{keep}", "E_TRUNCATED", cut))


# Series


@vector("E_NO_IMAGE")
def empty_folder(ct: Make, folder: Path) -> Path:
    return folder


def two_series(slices: list[Dataset]) -> None:
    for dataset in slices[::2]:
        dataset.SeriesInstanceUID = "1.2.3"


def all_at_one_place(slices: list[Dataset]) -> None:
    for dataset in slices:
        dataset.ImagePositionPatient = slices[0].ImagePositionPatient


def without_numbers(slices: list[Dataset]) -> None:
    for dataset in slices[3:5]:
        del dataset.InstanceNumber


def another_matrix(slices: list[Dataset]) -> None:
    slices[4].Rows, slices[4].PixelData = 5, slices[4].PixelData[: 2 * 5 * 9]


def another_orientation(slices: list[Dataset]) -> None:
    slices[4].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def short_pixels(slices: list[Dataset]) -> None:
    slices[4].PixelData = slices[4].PixelData[:20]


changed_slices("E_MULTI_SERIES", "two_series_of_five", two_series)
changed_slices("E_MISSING_SLICES", "five_of_twenty_missing", lambda slices: slices.__delitem__(slice(8, 13)), 20)
changed_slices(ACCEPTED, "without_instance_numbers", without_numbers)
changed_slices("E_MISSING_SLICES", "a_slice_of_another_orientation", another_orientation)
changed_slices("E_TRUNCATED", "a_slice_with_few_pixels", short_pixels)
changed_slices("E_DUPLICATE_POSITION", "all_slices_at_one_place", all_at_one_place)
for matrix_code in ("E_GEOMETRY",):
    changed_slices(matrix_code, "a_slice_of_another_matrix", another_matrix)

for keyword, value, code in [
    ("RescaleSlope", "nan", "E_NONFINITE"), ("RescaleSlope", "inf", "E_NONFINITE"), ("RescaleSlope", "0", "E_NOT_HU"),
    ("RescaleSlope", "-1", "E_NOT_HU"), ("RescaleSlope", "abc", "E_CORRUPT"), ("RescaleSlope", "1e300", "E_NONFINITE"),
    ("RescaleIntercept", "nan", "E_NONFINITE"), ("PixelSpacing", "nan\\nan", "E_CORRUPT"), ("PixelSpacing", "abc", "E_CORRUPT"),
    ("PixelSpacing", "-1\\-1", "E_GEOMETRY"), ("PixelSpacing", "0\\0", "E_GEOMETRY"),
    ("ImagePositionPatient", "nan\\0\\0", "E_CORRUPT"),
    ("ImageOrientationPatient", "0\\0\\0\\0\\0\\0", "E_GEOMETRY"), ("ImageOrientationPatient", "1\\0\\0\\1\\0\\0", "E_GEOMETRY"),
    ("NumberOfFrames", "-1", "E_NO_IMAGE"),
]:  # fmt: skip

    def lie(slices: list[Dataset], keyword: str = keyword, value: str = value) -> None:
        for dataset in slices:
            raw(dataset, keyword, value)

    changed_slices(code, f"{keyword}_{value}", lie, 5)


@vector(ACCEPTED)
def noise_beside_a_series(ct: Make, folder: Path) -> Path:
    for i, dataset in enumerate(ct(10)):
        write(dataset, folder / f"{i}")
    (folder / "junk.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    return folder


@pytest.mark.parametrize(("code", "build"), [pytest.param(code, build, id=name) for name, code, build in VECTORS])
def test_it_is_a_study_or_the_right_typed_error(code: str, build: Build, ct: Make, folder: Path, harmless: Check) -> None:
    harmless(build(ct, folder), code)


def test_a_jail_this_tight_would_have_been_noticed(ct: Make, tmp_path: Path) -> None:
    """A study that honestly needs more than its jail gives is refused for that reason."""
    for i, dataset in enumerate(ct(2, shape=(8_000, 8_000), PixelData=bytes(2 * 8_000 * 8_000), RescaleSlope="1.5")):
        write(dataset, tmp_path / f"{i}")
    with Jail(replace(LIMITS, memory_bytes=900 << 20)) as tight, pytest.raises(BudgetError):
        tight.open(tmp_path)
