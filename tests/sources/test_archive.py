from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medmm import open_study
from medmm.errors import ArchiveError, MedmmError, NoImageError, TooLargeError
from medmm.settings import LIMITS
from medmm.sources.archive import open_entries

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]
Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Write a zip of (name or ZipInfo, content) members."""

    def write(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
        target = tmp_path / "SECRET.zip"
        with zipfile.ZipFile(target, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content, compress_type=compression)
        return target

    return write


def test_a_folder_a_zip_of_it_and_a_nested_tree_give_the_same_volume(ct: Make, save: Save, zipped: Callable) -> None:
    folder = save(ct(4))
    nested = folder.parent / "nested" / "deep" / "er"
    nested.parent.mkdir(parents=True)
    plain, packed = open_study(folder).volumes[0], open_study(zipped(folder)).volumes[0]
    folder.rename(nested)
    deep = open_study(nested.parent.parent).volumes[0]
    for other in (packed, deep):
        np.testing.assert_array_equal(plain.array, other.array)
        np.testing.assert_array_equal(plain.grid.affine, other.grid.affine)


def test_a_zip_is_known_by_content_not_by_name(ct: Make, save: Save, zipped: Callable) -> None:
    renamed = zipped(save(ct(3))).rename(save([]).parent / "upload.bin")
    assert open_study(renamed).volumes[0].grid.shape == (9, 7, 3)


def test_entries_come_sorted_and_can_be_read_in_parts(build: Build) -> None:
    with open_entries(build(("b/2", b"two"), ("a/1", b"one"))) as entries:
        assert [(e.name, e.size, e.head(2), e.read()) for e in entries] == [("a/1", 3, b"on", b"one"), ("b/2", 3, b"tw", b"two")]


def test_a_file_is_never_asked_for_more_than_it_has(tmp_path: Path) -> None:
    """A damaged header states an element of 64 GB; Python would set them aside before reading."""
    (tmp_path / "a").write_bytes(b"0123456789")
    with open_entries(tmp_path / "a") as entries, entries[0].open() as file:
        assert file.read(4) == b"0123"
        assert file.read(64 << 30) == b"456789"
        assert file.read(64 << 30) == b""
        file.seek(20)
        assert file.read(5) == b""
        file.seek(2)
        assert (file.read(), file.read(None)) == (b"23456789", b"")


def test_litter_of_operating_systems_is_not_counted(ct: Make, save: Save, zipped: Callable) -> None:
    folder = save(ct(3))
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    assert open_study(folder).notices == ()
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.dcm").write_bytes(b"x")
    assert open_study(zipped(folder)).notices == ()


def test_nothing_there_is_refused(tmp_path: Path, refused: Callable) -> None:
    refused(NoImageError, tmp_path / "SECRET_nowhere")


@pytest.mark.parametrize("path", ["A long note. " * 400, "nul\0byte", ""])
def test_text_that_is_no_path_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the empty path is the current folder, which is empty
    with pytest.raises(NoImageError):
        open_study(path)


@pytest.mark.parametrize("kind", ["folder", "zip", "file"])
def test_empty_input_is_refused(tmp_path: Path, build: Build, refused: Callable, kind: str) -> None:
    empty = {"folder": tmp_path / "empty", "zip": build(), "file": tmp_path / "empty.dcm"}
    empty["folder"].mkdir()
    empty["file"].touch()
    refused(NoImageError, empty[kind], "none of the")


def test_links_in_a_folder_are_not_followed(ct: Make, save: Save, refused: Callable) -> None:
    folder = save(ct(3))
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "linked_folder").symlink_to(folder)
    (outside / "linked_file").symlink_to(next(folder.iterdir()))
    refused(NoImageError, outside)


def test_a_file_that_vanishes_between_listing_and_reading_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with open_entries(tmp_path) as entries:
        (tmp_path / "a").unlink()
        with pytest.raises(NoImageError):
            entries[0].read()


@pytest.mark.parametrize("name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil", "..\\evil.dcm", "\\evil"])
def test_members_that_point_outside_are_refused_and_nothing_is_written(build: Build, refused: Callable, name: str) -> None:
    archive = build((name, b"x"))
    refused(ArchiveError, archive, "outside the zip")
    assert [f.name for f in archive.parent.iterdir()] == [archive.name]


def test_links_in_a_zip_are_refused(build: Build, refused: Callable) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    refused(ArchiveError, build((link, b"/etc/hostname")), "link")


def test_a_bomb_is_refused_before_it_is_inflated(build: Build, refused: Callable) -> None:
    refused(ArchiveError, build(("a.dcm", bytes(20 << 20))), "bomb")


def test_a_member_larger_than_the_zip_says_is_refused(build: Build, refused: Callable) -> None:
    """A directory that claims 100 bytes for a member of 10 MB: the promise is checked, and not exceeded."""
    archive = build(("a.dcm", bytes(10 << 20)))
    content = bytearray(archive.read_bytes())
    entry = content.rfind(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, 100)
    archive.write_bytes(content)
    refused(ArchiveError, archive, "damaged")


def test_members_that_share_their_bytes_are_refused(build: Build, refused: Callable) -> None:
    """A bomb without a high ratio: the directory names one member many times."""
    archive = build(("a.dcm", bytes(1000)), ("b.dcm", bytes(1000)))
    content = bytearray(archive.read_bytes())
    second = content.rfind(b"PK\x01\x02")
    struct.pack_into("<I", content, second + 42, 0)
    archive.write_bytes(content)
    refused(ArchiveError, archive, "overlap")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cost_memory_are_refused(build: Build, refused: Callable, method: int) -> None:
    refused(ArchiveError, build(("a.dcm", b"x" * 100), compression=method), "another method")


@pytest.mark.parametrize("large", [False, True])
def test_a_directory_of_millions_is_refused_unread(tmp_path: Path, refused: Callable, large: bool) -> None:
    length = 400 << 20
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 0xFFFFFFFF if large else length, 0, 0)
    if large:
        end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 23, 1 << 23, length, 0) + end
    with (tmp_path / "SECRET.zip").open("wb") as file:
        file.write(b"PK\3\4")
        file.truncate(length)  # sparse
        file.seek(length)
        file.write(end)
    refused(TooLargeError, tmp_path / "SECRET.zip", "directory")


def test_too_many_bytes_are_refused_from_the_directory_alone(build: Build, refused: Callable) -> None:
    archive = build(("a.dcm", b"x" * 100), compression=zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    entry = content.rfind(b"PK\x01\x02")
    struct.pack_into("<II", content, entry + 20, 0x7FFFFFFF, 0x7FFFFFFF)
    archive.write_bytes(content)
    refused(TooLargeError, archive)


def test_too_many_files_are_refused(build: Build, refused: Callable) -> None:
    members = [(f"{i}", b"") for i in range(LIMITS.files + 1)]
    refused(TooLargeError, build(*members, compression=zipfile.ZIP_STORED), "5,000 files")


def test_an_encrypted_zip_is_refused(build: Build, refused: Callable) -> None:
    archive = build(("a.dcm", b"x" * 100))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(signature) + offset] |= 1
    archive.write_bytes(content)
    refused(ArchiveError, archive, "password")


@pytest.mark.parametrize("keep", [4, 0.5, 0.99])
def test_a_zip_cut_short_is_refused_as_a_zip(ct: Make, save: Save, zipped: Callable, refused: Callable, keep: float) -> None:
    archive = zipped(save(ct(4)))
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    refused(ArchiveError, archive, "damaged")


def test_flipped_bytes_in_a_member_are_refused(ct: Make, save: Save, zipped: Callable, refused: Callable) -> None:
    archive = zipped(save(ct(4)))
    content = bytearray(archive.read_bytes())
    for i in range(80, 300):
        content[i] ^= 0x5A
    archive.write_bytes(content)
    refused(ArchiveError, archive, "damaged")


def test_random_damage_to_a_zip_only_ever_gives_typed_errors(ct: Make, save: Save, zipped: Callable) -> None:
    archive = zipped(save(ct(2)))
    content, rng = archive.read_bytes(), np.random.default_rng(3)
    for _ in range(150):
        mutant = bytearray(content)
        for i in rng.integers(len(mutant), size=int(rng.integers(1, 12))):
            mutant[i] = rng.integers(256)
        archive.write_bytes(mutant)
        with suppress(MedmmError):
            open_study(archive)


def test_a_zip_within_a_zip_is_not_opened(build: Build, refused: Callable) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a", b"x")
    refused(NoImageError, build(("inner.zip", inner.getvalue())))
