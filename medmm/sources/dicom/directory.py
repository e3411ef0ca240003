"""A DICOMDIR: an index whose files are read for themselves; what it lists and is not there is told."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from medmm.hush import hushed
from medmm.sources.archive import Entry

_NAMES = ("DICOMDIR", "DIRFILE")  # the second is what some archives call it
_LARGEST = 1 << 26  # bytes of an index that is still parsed


def root_of(path: str | os.PathLike[str]) -> Path:
    """The folder of a DICOMDIR when the path names one, else the path itself."""
    file = Path(path)
    return file.parent if file.name.upper() in _NAMES and not file.is_dir() else file


def is_directory(entry: Entry) -> bool:
    """Whether a file is an index by its name."""
    return entry.name.replace("\\", "/").rpartition("/")[2].upper() in _NAMES


def count_absent(entries: list[Entry]) -> int:
    """How many files the indexes among `entries` list that are not among them."""
    indexes = list(filter(is_directory, entries))
    present = {entry.name.replace("\\", "/").upper() for entry in entries} if indexes else set()
    absent: set[str] = set()
    for entry in indexes:
        folder = PurePosixPath(entry.name.replace("\\", "/").upper()).parent
        absent |= {str(folder / name) for name in _listed(entry)} - present
    return len(absent)


def _listed(entry: Entry) -> set[str]:
    import pydicom

    if entry.size > _LARGEST:
        return set()
    try:
        with entry.open() as file, hushed():
            records = pydicom.dcmread(file, specific_tags=["DirectoryRecordSequence"]).get("DirectoryRecordSequence") or ()
            parts = [record.get("ReferencedFileID") for record in records]
    except Exception:  # foreign bytes: an index that cannot be read lists nothing, its files are read for themselves
        return set()
    return {"/".join([part] if isinstance(part, str) else part).upper() for part in parts if part}
