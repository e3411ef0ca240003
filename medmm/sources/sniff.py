"""Which reader a file is for, by its content."""

from __future__ import annotations

from medmm.sources import nifti, picture
from medmm.sources.archive import Entry
from medmm.sources.dicom import reader as dicom
from medmm.sources.dicom.directory import is_directory

_HEAD_BYTES = 132


def sort_by_kind(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Files under `dicom`, `nifti` and `picture`; those of another kind are in none."""
    kinds: dict[str, list[Entry]] = {"dicom": [], "nifti": [], "picture": []}
    for entry in entries:
        if is_directory(entry):
            continue
        head = entry.head(_HEAD_BYTES)
        if dicom.is_dicom(head):
            kinds["dicom"].append(entry)
        elif picture.is_picture(head):
            kinds["picture"].append(entry)
        elif nifti.is_nifti(entry):
            kinds["nifti"].append(entry)
    return kinds
