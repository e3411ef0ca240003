"""NIfTI, archives, pictures and other files built to hurt."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.zips import link, zipped

AFFINE = np.diag([0.8, 0.8, 2.0, 1.0])

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


# NIfTI


def nifti(code: str, name: str, data: Any = None, patch: dict[int, tuple[str, Any]] | None = None, packed: bool = False) -> None:
    def build(ct: Make, folder: Path) -> Path:
        image = np.random.default_rng(0).integers(-1000, 1000, (16, 16, 16), dtype=np.int16) if data is None else data
        content = bytearray(nibabel.Nifti1Image(image, AFFINE).to_bytes())
        for offset, (form, number) in (patch or {}).items():
            struct.pack_into("<" + form, content, offset, number)
        (folder / "a").write_bytes(gzip.compress(content) if packed else content)
        return folder / "a"

    VECTORS.append((name, code, build))


nifti(ACCEPTED, "nifti_as_it_should_be")
nifti("E_NONFINITE", "nifti_nan_affine", patch={280: ("f", np.nan)})
nifti("E_NONFINITE", "nifti_infinite_slope", patch={112: ("f", np.inf)})
nifti("E_NONFINITE", "nifti_huge_slope", patch={112: ("f", 1e38), 116: ("f", 0.0)})
nifti("E_NONFINITE", "nifti_nan_voxels", np.full((16, 16, 16), np.nan, np.float32))
nifti("E_GEOMETRY", "nifti_4d", np.zeros((8, 8, 8, 3), np.int16))
nifti("E_CORRUPT", "nifti_complex", np.zeros((8, 8, 8), np.complex64))
nifti("E_GEOMETRY", "nifti_pixdim_is_not_sform", patch={80: ("f", 1.7)})
nifti("E_GEOMETRY", "nifti_voxels_of_a_nanometre", patch={280: ("f", 1e-6), 80: ("f", 1e-6)})
nifti("E_TOO_LARGE", "nifti_claims_32767", patch={42 + 2 * i: ("h", 32_767) for i in range(3)})
nifti("E_TOO_LARGE", "nifti_gz_claims_32767", patch={42 + 2 * i: ("h", 32_767) for i in range(3)}, packed=True)
nifti("E_TRUNCATED", "nifti_claims_500", patch={42 + 2 * i: ("h", 500) for i in range(3)})
nifti("E_CORRUPT", "nifti_negative_size", patch={42: ("h", -5)})
nifti("E_TRUNCATED", "nifti_offset_far_away", patch={108: ("f", 9e8)})


@vector("E_TOO_LARGE")
def nifti_gz_bomb(ct: Make, folder: Path) -> Path:
    """An honest header, and half a gigabyte of zeros in half a megabyte."""
    header = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), AFFINE).to_bytes()[:352])
    struct.pack_into("<3h", header, 42, 1024, 512, 512)
    with gzip.open(folder / "a", "wb") as file:
        file.write(header)
        for _ in range(512):
            file.write(bytes(1 << 20))
    return folder / "a"


@vector("E_TOO_LARGE")
def nifti_gz_with_more_behind(ct: Make, folder: Path) -> Path:
    """A small image, and what was not promised behind it."""
    with gzip.open(folder / "a", "wb") as file:
        file.write(nibabel.Nifti1Image(np.zeros((16, 16, 16), np.int16), AFFINE).to_bytes() + os.urandom(4 << 20))
    return folder / "a"


for keep in (0.2, 0.6, 0.98):

    def cut_nifti(ct: Make, folder: Path, keep: float = keep) -> Path:
        content = nibabel.Nifti1Image(
            np.random.default_rng(0).integers(-1000, 1000, (32, 32, 32), dtype=np.int16), AFFINE
        ).to_bytes()
        packed = gzip.compress(content)
        (folder / "a").write_bytes(packed[: int(keep * len(packed))])
        return folder / "a"

    VECTORS.append((f"nifti_gz_truncated_{keep}", "E_TRUNCATED", cut_nifti))


# Other files

for name, content in {
    "empty": b"",
    "text": b"This is not an image.\n" * 50,
    "only_a_preamble": bytes(128) + b"DICM",
    "noise_behind_a_preamble": bytes(128) + b"DICM" + np.random.default_rng(0).bytes(4000),
    "nrrd_that_names_a_file": b"NRRD0004\ntype: uchar\ndimension: 1\nsizes: 100\nencoding: raw\ndata file: /etc/passwd\n\n",
    "mhd_that_names_a_file": b"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = /etc/passwd\n",
    "npy_with_a_pickle": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    + b" " * 50
    + b"\ncos\nsystem\n.",
    "gifti_billion_laughs": b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "' + b"ha" * 1000 + b'">]><GIFTI>&a;</GIFTI>',
}.items():

    def plain(ct: Make, folder: Path, content: bytes = content) -> Path:
        (folder / "a").write_bytes(content)
        return folder / "a"

    VECTORS.append((name, "E_NO_IMAGE", plain))


# Archives


for name, members, code in [
    ("zip_slip", [("../../evil", b"x")], "E_ARCHIVE"),
    ("zip_absolute", [("/etc/evil", b"x")], "E_ARCHIVE"),
    ("zip_link", [(link("link"), b"/etc/passwd")], "E_ARCHIVE"),
    ("zip_bomb", [("a", bytes(300 << 20))], "E_ARCHIVE"),
    ("zip_within_zip", [("a.zip", zipped(("b", bytes(10 << 20))))], "E_NO_IMAGE"),
    ("zip_of_nothing", [], "E_NO_IMAGE"),
    ("zip_of_many", [(f"{i}", b"") for i in range(6_000)], "E_TOO_LARGE"),
]:

    def archive(ct: Make, folder: Path, members: Any = members) -> Path:
        (folder / "a").write_bytes(zipped(*members))
        return folder / "a"

    VECTORS.append((name, code, archive))


@vector("E_NO_IMAGE")
def tar_slip(ct: Make, folder: Path) -> Path:
    with tarfile.open(folder / "a", "w") as archive:
        info = tarfile.TarInfo("../../evil")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    return folder / "a"


@vector("E_TOO_LARGE")
def picture_of_ten_billion_pixels(ct: Make, folder: Path) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    (folder / "a").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return folder / "a"


@pytest.mark.parametrize(("code", "build"), [pytest.param(code, build, id=name) for name, code, build in VECTORS])
def test_it_is_a_study_or_the_right_typed_error(code: str, build: Build, ct: Make, folder: Path, harmless: Check) -> None:
    harmless(build(ct, folder), code)
