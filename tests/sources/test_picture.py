from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medmm import open_study
from medmm.errors import CorruptError, NoImageError, TooLargeError

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_grey_picture_is_one_slice_of_grey_levels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.kron(RAMP, np.ones((16, 16), np.uint8))).save(path, **({"quality": 95} if suffix == "jpg" else {}))
    study = open_study(path)
    volume = study.volumes[0]
    assert volume.array.shape == (1, 64, 48, 1)
    assert (volume.unit, volume.modality, volume.array.dtype) == ("intensity", "OT", np.int16)
    assert np.abs(volume.array[0, 8::16, 8::16, 0].T - RAMP).max() <= (2 if suffix == "jpg" else 0)
    assert [n.code for n in study.notices] == ["W_NO_SCALE"]


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "a.png")
    assert set(open_study(tmp_path / "a.png").volumes[0].array.ravel()) == {76}  # 0.299 * 255


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 1000], [4095, 40000, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_study(tmp_path / "a.png").volumes[0].array[0, :, :, 0].T, [[0, 1, 3], [15, 155, 255]])


def test_black_and_white_and_transparent_pictures_are_read(tmp_path: Path) -> None:
    for mode, white in (("1", 1), ("LA", (255, 10)), ("RGBA", (255, 255, 255, 0)), ("P", 0)):
        Image.new(mode, (5, 6), white).save(tmp_path / "a.png")
        assert open_study(tmp_path / "a.png").volumes[0].array.shape == (1, 5, 6, 1)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_picture_cut_short_is_refused(tmp_path: Path, refused: Callable, keep: float) -> None:
    path = tmp_path / "SECRET.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    refused(CorruptError, path)


def test_a_header_that_states_a_giant_picture_is_refused_without_decoding(tmp_path: Path, refused: Callable) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    path = tmp_path / "SECRET.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    refused(TooLargeError, path)


def test_other_picture_formats_are_not_read(tmp_path: Path, refused: Callable) -> None:
    Image.fromarray(RAMP).save(tmp_path / "SECRET.tiff")
    refused(NoImageError, tmp_path / "SECRET.tiff")
