"""Files under a path, whether it is a file, a folder or a zip, as one list of readable entries.

Nothing is ever extracted to disk and links are never followed; sizes are checked before a byte is
inflated.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from medmm.errors import ArchiveError, NoImageError, TooLargeError
from medmm.settings import LIMITS

_ZIP = b"PK\x03\x04"
_ENCRYPTED = 0x1
_SYMLINK = 0o120000
_TAIL = 1 << 17  # holds the end of a zip's directory and the longest comment behind it
_END_OF_DIRECTORY, _LARGE_END_OF_DIRECTORY, _LARGE = b"PK\x05\x06", b"PK\x06\x06", 0xFFFFFFFF
_LONGEST_MEMBER = 1024  # bytes of a directory's entry: a name, times, and room to spare
_IGNORED = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its name below the opened path (never shown to anyone), its size, and how to read it."""

    name: str
    size: int
    opener: Callable[[], BinaryIO]

    def open(self) -> BinaryIO:
        """Open for binary reading; the caller closes."""
        return self.opener()

    def read(self) -> bytes:
        """All bytes."""
        with self.open() as file:
            return file.read()

    def head(self, count: int) -> bytes:
        """The first `count` bytes."""
        with self.open() as file:
            return file.read(count)


@contextmanager
def open_entries(path: str | os.PathLike[str]) -> Iterator[list[Entry]]:
    """List the files at a path, sorted by name; entries are readable while the context is open.

    Args:
        path: A file, a folder (walked to any depth, links skipped) or a zip.

    Yields:
        The entries.

    Raises:
        NoImageError: If nothing is there.
        TooLargeError: If over a limit of `medmm.settings.Limits`.
        ArchiveError: If a zip cannot be read safely.
    """
    root = Path(path)
    try:
        is_folder, is_file = root.is_dir(), root.is_file()
    except OSError:  # no name the file system could hold, as when a note stands where a path should
        is_folder = is_file = False
    if is_folder:
        yield _checked(_folder_entries(root))
    elif not is_file:
        msg = "Expected a file, folder or zip; there is nothing at the given path. Check its spelling."
        raise NoImageError(msg)
    elif _is_zip(root):
        with _open_zip(root) as archive:
            entries = _checked(_zip_entries(archive))
            _refuse_overlap(archive)
            yield entries
    else:
        yield _checked([Entry(root.name, root.stat().st_size, partial(_open_file, root))])


def _folder_entries(root: Path) -> list[Entry]:
    entries = []
    for folder, subfolders, names in os.walk(root, followlinks=False):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_symlink() or name in _IGNORED or not file.is_file():
                continue
            entries.append(Entry(str(file.relative_to(root)), file.stat().st_size, partial(_open_file, file)))
            if len(entries) > LIMITS.files:
                break
    return entries


class _BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it has: Python sets aside whatever a damaged header asks for."""

    def __init__(self, file: Path) -> None:
        super().__init__(io.FileIO(file))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, max(self._size - self.tell(), 0)))


def _open_file(file: Path) -> BinaryIO:
    try:
        return _BoundedFile(file)
    except OSError:
        msg = "Expected readable files; one cannot be opened. Check its permissions, or whether it is still there."
        raise NoImageError(msg) from None


def _is_zip(root: Path) -> bool:
    """Whether it begins or ends like a zip: one that was cut short is still meant as one."""
    with _open_file(root) as file:
        return file.read(len(_ZIP)) == _ZIP or zipfile.is_zipfile(file)


def _open_zip(root: Path) -> zipfile.ZipFile:
    _refuse_long_directory(root)
    try:
        return zipfile.ZipFile(root)
    except Exception:  # foreign bytes: whatever zipfile throws means the same thing
        msg = "Expected a readable zip; this one is damaged. Make it again."
        raise ArchiveError(msg) from None


def _refuse_long_directory(root: Path) -> None:
    """Before it is parsed: a directory of millions of members would fill the memory."""
    with _open_file(root) as file:
        file.seek(max(0, root.stat().st_size - _TAIL))
        tail = file.read()
    end = tail.rfind(_END_OF_DIRECTORY)
    if end < 0 or end + 22 > len(tail):
        return  # no zip: it is refused when it is opened
    (length,) = struct.unpack_from("<I", tail, end + 12)
    large = tail.rfind(_LARGE_END_OF_DIRECTORY, 0, end)
    if length == _LARGE and 0 <= large <= len(tail) - 56:
        (length,) = struct.unpack_from("<Q", tail, large + 40)
    if length > LIMITS.files * _LONGEST_MEMBER:
        msg = f"Expected a zip of at most {LIMITS.files:,} files; its directory is longer than that. Zip one study."
        raise TooLargeError(msg)


def _zip_entries(archive: zipfile.ZipFile) -> list[Entry]:
    entries = []
    for member in archive.infolist():
        if member.is_dir() or any(part in member.filename for part in _IGNORED):
            continue
        _refuse_unsafe(member)
        entries.append(Entry(member.filename, member.file_size, partial(_open_member, archive, member)))
    return sorted(entries, key=lambda entry: entry.name)


def _refuse_overlap(archive: zipfile.ZipFile) -> None:
    """Members that share bytes: one kilobyte could stand for thousands of files."""
    places = sorted((m.header_offset, m.compress_size) for m in archive.infolist())
    ends = [offset + size for offset, size in places]
    starts = [*(offset for offset, _ in places[1:]), archive.start_dir]
    if any(end > start for end, start in zip(ends, starts, strict=False)):
        msg = "Expected a zip whose members lie one after the other; two overlap. It looks like a bomb."
        raise ArchiveError(msg)


def _refuse_unsafe(member: zipfile.ZipInfo) -> None:
    parts = member.filename.replace("\\", "/").split("/")
    if member.filename.startswith(("/", "\\")) or ".." in parts or (member.external_attr >> 16) & 0o170000 == _SYMLINK:
        msg = "Expected a zip of plain files; one member is a link or points outside the zip. Zip the folder itself."
        raise ArchiveError(msg)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        msg = "Expected a zip packed by deflating, as every system does; got another method. Zip the folder again."
        raise ArchiveError(msg)
    if member.flag_bits & _ENCRYPTED:
        msg = "Expected a zip without a password; this one is encrypted. Unlock it first."
        raise ArchiveError(msg)
    if member.file_size > LIMITS.zip_ratio * max(member.compress_size, 1) and member.file_size > 1 << 20:
        msg = f"Expected zip members that shrink at most {LIMITS.zip_ratio} to 1; got one beyond that. It looks like a bomb."
        raise ArchiveError(msg)


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    try:
        return io.BytesIO(archive.read(member))  # zipfile stops at the declared size and checks the CRC
    except Exception:  # foreign bytes: whatever zipfile or zlib throws means the same thing
        msg = "Expected readable zip members; one is damaged or packed in an unknown way. Make the zip again."
        raise ArchiveError(msg) from None


def _checked(entries: list[Entry]) -> list[Entry]:
    if len(entries) > LIMITS.files:
        msg = f"Expected at most {LIMITS.files:,} files; got more. Point to one study."
        raise TooLargeError(msg)
    if any(e.size > LIMITS.file_bytes for e in entries) or sum(e.size for e in entries) > LIMITS.total_bytes:
        msg = (
            f"Expected files of at most {LIMITS.file_bytes >> 20:,} MB and {LIMITS.total_bytes >> 20:,} MB in all; "
            "got more. Point to one study."
        )
        raise TooLargeError(msg)
    return entries
