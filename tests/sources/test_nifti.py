"""Oracle: nibabel's own reading and its closest canonical orientation."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medmm import open_study
from medmm.errors import (
    CorruptError,
    GeometryError,
    MedmmError,
    NoImageError,
    NonFiniteError,
    NotHounsfieldError,
    TooLargeError,
    TruncatedError,
)
from medmm.geometry import reorient

SHAPE = (6, 7, 8)
AFFINE = np.array([[0, 0, 2.5, -30], [-0.8, 0, 0, 44], [0, 0.9, 0, 12.5], [0, 0, 0, 1]])
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an image; `patch` changes header bytes afterwards: {offset: (format, value)}."""

    def to_file(
        data: Any = None, affine: Any = AFFINE, *, patch: dict[int, tuple[str, Any]] | None = None, name: str = "SECRET.nii"
    ) -> Path:
        data = np.random.default_rng(0).integers(-1000, 1500, SHAPE, dtype=np.int16) if data is None else data
        content = bytearray(nibabel.Nifti1Image(data, affine).to_bytes())
        for offset, (form, value) in (patch or {}).items():
            struct.pack_into("<" + form, content, offset, value)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        return tmp_path / name

    return to_file


@pytest.mark.parametrize("name", ["SECRET.nii", "SECRET.nii.gz", "any.bin"])
def test_voxels_and_affine_equal_nibabels(write: Write, name: str) -> None:
    study = open_study(write(name=name))
    image = nibabel.load(write())
    volume = study.volumes[0]
    np.testing.assert_array_equal(volume.array[0], image.get_fdata())
    np.testing.assert_allclose(volume.grid.affine, image.affine, atol=1e-6)
    assert (volume.unit, volume.modality, volume.array.dtype) == ("HU", "CT", np.int16)
    assert [n.code for n in study.notices] == ["W_ASSUMED_HU"]


def test_reorientation_equals_nibabels_closest_canonical(write: Write) -> None:
    path = write()
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    volume = open_study(path).volumes[0]
    array, affine = reorient(volume.array, volume.grid.affine)
    np.testing.assert_array_equal(array[0], canonical.get_fdata())
    np.testing.assert_allclose(affine, canonical.affine, atol=1e-6)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (2, 4)])
def test_the_affine_is_read_from_qform_or_sform(tmp_path: Path, codes: tuple[int, int]) -> None:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16) - 500, AFFINE)
    image.set_qform(AFFINE, code=codes[0])
    image.set_sform(AFFINE if codes[1] else np.diag([9, 9, 9, 1]), code=codes[1])
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(open_study(tmp_path / "a.nii").volumes[0].grid.affine, AFFINE, atol=1e-5)


def test_scaling_is_applied(write: Write) -> None:
    stored = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    path = write(stored, patch={112: ("f", 0.5), 116: ("f", -1000)})
    np.testing.assert_array_equal(open_study(path).volumes[0].array[0], stored * 0.5 - 1000)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(-1000, 1500, SHAPE).astype(">i2")
    image = nibabel.Nifti1Image(data, AFFINE, nibabel.Nifti1Header(endianness=">"))
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    np.testing.assert_array_equal(open_study(tmp_path / "a.nii").volumes[0].array[0], data)


@pytest.mark.parametrize(("low", "unit"), [(0, "intensity"), (-150, "intensity"), (-900, "HU")])
def test_values_that_do_not_look_like_ct_are_not_called_hounsfield_units(write: Write, low: int, unit: str) -> None:
    study = open_study(write(np.linspace(low, 1200, np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)))
    assert study.volumes[0].unit == unit
    assert [n.code for n in study.notices] == ["W_ASSUMED_HU"] * (unit == "HU")


def test_a_trailing_axis_of_one_is_no_fourth_dimension(write: Write) -> None:
    assert open_study(write(np.zeros((*SHAPE, 1), np.int16))).volumes[0].grid.shape == SHAPE


@pytest.mark.parametrize(
    ("data", "leaf"),
    [
        (np.zeros((*SHAPE, 3), np.int16), GeometryError),
        (np.zeros(SHAPE[:2], np.int16), GeometryError),
        (np.zeros(SHAPE, np.complex64), CorruptError),
        (np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]), CorruptError),
        (np.full(SHAPE, np.nan, np.float32), NonFiniteError),
        (np.where(np.arange(8) == 3, np.inf, 0).astype(np.float32) + np.zeros(SHAPE, np.float32), NonFiniteError),
        (np.full(SHAPE, 1e300), NonFiniteError),
        (np.linspace(-2100, 400, np.prod(SHAPE)).reshape(SHAPE).astype(np.int16), NotHounsfieldError),
    ],
    ids=["4-D", "2-D", "complex", "colour", "nan", "inf", "overflow", "rescaled twice"],
)
def test_values_that_are_no_scalar_volume_are_refused(
    write: Write, refused: Callable, data: np.ndarray, leaf: type[MedmmError]
) -> None:
    refused(leaf, write(data))


@pytest.mark.parametrize(
    ("patch", "leaf"),
    [
        ({252: ("h", 0), 254: ("h", 0)}, GeometryError),
        ({280: ("f", np.nan)}, NonFiniteError),
        ({280: ("f", 400.0)}, GeometryError),
        ({80: ("f", 1.9)}, GeometryError),
        ({40: ("h", 4), 48: ("h", 2)}, GeometryError),
        ({42: ("h", 0)}, CorruptError),
        ({42: ("h", -6)}, CorruptError),
        ({42: ("h", 60)}, TruncatedError),
        ({42: ("h", 30000), 44: ("h", 30000)}, TooLargeError),
        ({108: ("f", np.nan)}, CorruptError),
        ({108: ("f", 1e6)}, TruncatedError),
        ({112: ("f", np.inf)}, NonFiniteError),
        ({112: ("f", 1.0), 116: ("f", np.nan)}, NonFiniteError),
        ({70: ("h", 7777)}, CorruptError),
    ],
    ids=["no orientation", "nan affine", "huge voxels", "pixdim and sform differ", "4-D", "no voxels", "negative size",
         "more voxels than bytes", "too many voxels", "nan offset", "offset beyond the end", "infinite slope", "nan intercept",
         "unknown type"],
)  # fmt: skip
def test_a_header_that_lies_is_refused(
    write: Write, refused: Callable, patch: dict[int, tuple[str, Any]], leaf: type[MedmmError]
) -> None:
    refused(leaf, write(patch=patch))


def test_a_degenerate_affine_is_refused(write: Write, refused: Callable) -> None:
    patch = {280 + 4 * i: ("f", v) for i, v in enumerate((1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0))}
    patch |= {80: ("f", 1.0), 84: ("f", 1.0), 88: ("f", 1.0)}
    refused(GeometryError, write(patch=patch))


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.999])
def test_a_gzip_that_ends_early_is_refused(write: Write, refused: Callable, keep: float) -> None:
    path = write(name="SECRET.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    refused(TruncatedError, path, "gzip")


def test_a_gzip_of_something_else_or_damaged_at_its_start_is_no_image(tmp_path: Path, refused: Callable) -> None:
    for content in (gzip.compress(b"x" * 400), b"\x1f\x8b" + bytes(400)):
        (tmp_path / "SECRET.nii.gz").write_bytes(content)
        refused(NoImageError, tmp_path / "SECRET.nii.gz")


def test_a_file_that_ends_early_is_refused(write: Write, refused: Callable) -> None:
    path = write()
    path.write_bytes(path.read_bytes()[:-1])
    refused(TruncatedError, path, "voxels the header promises")


def test_only_half_a_header_is_no_image(write: Write, refused: Callable) -> None:
    path = write()
    path.write_bytes(path.read_bytes()[:200])
    refused(NoImageError, path)


def test_random_damage_only_ever_gives_typed_errors(write: Write) -> None:
    path = write()
    content, rng = path.read_bytes(), np.random.default_rng(5)
    for _ in range(300):
        mutant = bytearray(content)
        for i in rng.integers(344, size=int(rng.integers(1, 8))):
            mutant[i] = rng.integers(256)
        path.write_bytes(mutant)
        with suppress(MedmmError):
            open_study(path)


@pytest.mark.parametrize("name", ["example_ct.nii.gz", "example_ct_sm.nii.gz", "example_mr_sm.nii.gz"])
def test_real_files_equal_nibabels_reading(shared_data: Path, name: str) -> None:
    path = shared_data / "dicom" / "TotalSegmentator" / name
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    volume = open_study(path).volumes[0]
    array, affine = reorient(volume.array, volume.grid.affine)
    np.testing.assert_array_equal(array[0], canonical.get_fdata())
    np.testing.assert_allclose(affine, canonical.affine, atol=1e-5)
    assert volume.unit == ("intensity" if "mr" in name else "HU")
