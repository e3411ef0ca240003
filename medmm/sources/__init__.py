"""From bytes somebody handed over to a `Study`, or to a typed refusal.

`open_study` looks at content, not at file names: DICOM, NIfTI, PNG and JPEG, in a file, a folder
of any depth or a zip. One reader a format; each returns a whole `Study`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Protocol, TypeAlias

from medmm.errors import MultipleSeriesError, NoImageError
from medmm.sources import dicom, nifti, picture
from medmm.sources.archive import Entry, open_entries
from medmm.sources.sniff import sort_by_kind
from medmm.study import Note, Notice, Study

Source: TypeAlias = str | os.PathLike[str] | None
"""Where a study lies; None for none."""


class Opener(Protocol):
    """The signature `open_study` shares with `jail.Jail.open`."""

    def __call__(self, path: Source, note: str | None = None, *, series: str | None = None) -> Study:
        """Read one patient's study; see `open_study`."""
        ...


def open_study(path: Source, note: str | None = None, *, series: str | None = None) -> Study:
    """Read one patient's study.

    Args:
        path: A DICOM file, folder or zip, a NIfTI file, or a PNG/JPEG picture. None for a note alone.
        note: Clinical text, or None.
        series: SeriesInstanceUID to read, overriding the stated rule of `sources.inventory`.

    Returns:
        The study, with how it was read in `provenance` and what to know of it in `notices`.

    Raises:
        InputError: A leaf with a stable code for everything that is not safe to read.

    Example:
        >>> medmm.open_study("scan/", note="63-year-old, cough.").modalities  # doctest: +SKIP
        frozenset({'image', 'text'})
    """
    study = Study() if path is None else _read_images(path, series)
    return replace(study, note=Note(note)) if note is not None else study


def _read_images(path: str | os.PathLike[str], series: str | None) -> Study:
    with open_entries(path) as entries:
        kinds = sort_by_kind(entries)
        if kinds["dicom"]:
            study = dicom.read_study(kinds["dicom"], series)
            read = len(kinds["dicom"])
        elif kinds["nifti"]:
            study = nifti.read_study(_only(kinds["nifti"], "NIfTI images"))
            read = 1
        elif kinds["picture"]:
            study = picture.read_study(_only(kinds["picture"], "pictures"))
            read = 1
        else:
            msg = f"Expected DICOM, NIfTI, PNG or JPEG; none of the {len(entries)} files is one. Point to the images."
            raise NoImageError(msg)
    skipped = len(entries) - read
    if not skipped:
        return study
    notice = Notice("W_OTHER_FILES", f"{skipped} files are of another kind and were not read.")
    provenance = replace(study.provenance, left_out=(*study.provenance.left_out, ("file of another kind", skipped)))
    return replace(study, provenance=provenance).with_notices(notice)


def _only(entries: list[Entry], what: str) -> Entry:
    if len(entries) > 1:
        msg = f"Expected one image; got {len(entries)} {what}. Point to one of them."
        raise MultipleSeriesError(msg)
    return entries[0]
