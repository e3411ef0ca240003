"""From bytes somebody handed over to a `Study`, or to a typed refusal.

`open_study` looks at content, not at file names: DICOM, NIfTI, PNG and JPEG, in a file, a folder
of any depth or a zip. One reader a format; each returns a whole `Study`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias

from medmm.errors import MultipleSeriesError, NoImageError
from medmm.sources import nifti, picture
from medmm.sources.archive import Entry, open_entries
from medmm.sources.audio import read_recording
from medmm.sources.dicom import reader as dicom
from medmm.sources.dicom.directory import count_absent, root_of
from medmm.sources.dicom.repair import Repair, as_repairs
from medmm.sources.sniff import sort_by_kind
from medmm.sources.text import make_note
from medmm.study import Note, Notice, Study

Source: TypeAlias = str | os.PathLike[str] | None
"""Where a study lies; None for none."""


class Opener(Protocol):
    """The signature `open_study` shares with `jail.Jail.open`."""

    def __call__(
        self,
        path: Source,
        note: str | Note | None = None,
        *,
        series: str | None = None,
        repair: Sequence[str] = (),
        audio: Source = None,
    ) -> Study:
        """Read one patient's study; see `open_study`."""
        ...


def open_study(
    path: Source, note: str | Note | None = None, *, series: str | None = None, repair: Sequence[str] = (), audio: Source = None
) -> Study:
    """Read one patient's study.

    Args:
        path: A DICOM file, folder, zip or DICOMDIR, a NIfTI file, or a PNG/JPEG picture. None for a note alone.
        note: Clinical text, or None.
        series: SeriesInstanceUID to read (`UID#part` when it holds several), or its number in `medmm inspect`, overriding the
            stated rule of `sources.dicom.inventory`.
        repair: What may be mended in a DICOM series that is no regular volume: `fill`, `resample`, `deskew`, `force`.
            What was done is in `provenance.repairs`.
        audio: A WAV or FLAC file with spoken words, or None.

    Returns:
        The study, with how it was read in `provenance` and what to know of it in `notices`.

    Raises:
        InputError: A leaf with a stable code for everything that is not safe to read.

    Example:
        >>> medmm.open_study("scan/", note="63-year-old, cough.").modalities  # doctest: +SKIP
        frozenset({'image', 'text'})
    """
    study = Study() if path is None else _read_images(path, series, as_repairs(repair))
    if audio is not None:
        study = replace(study, recording=read_recording(Path(audio)))
    return study.with_note(make_note(note) if isinstance(note, str) else note)


def _read_images(path: str | os.PathLike[str], series: str | None, repair: Sequence[Repair]) -> Study:
    with open_entries(root_of(path)) as entries:
        kinds = sort_by_kind(entries)
        if kinds["dicom"]:
            study = dicom.read_study(kinds["dicom"], series, repair)
            read = len(kinds["dicom"])
        elif series is not None:
            msg = "Expected DICOM where a series is named; got none. Name no series for other images."
            raise NoImageError(msg)
        elif kinds["nifti"]:
            study = nifti.read_study(_only(kinds["nifti"], "NIfTI images"))
            read = 1
        elif kinds["picture"]:
            study = picture.read_study(_only(kinds["picture"], "pictures"))
            read = 1
        else:
            msg = f"Expected DICOM, NIfTI, PNG or JPEG; none of the {len(entries)} files is one. Point to the images."
            raise NoImageError(msg)
        absent = count_absent(entries)
    if absent:
        message = f"The DICOMDIR lists {absent} files that are not there; the series may be incomplete."
        study = study.with_notices(Notice("W_DICOMDIR", message))
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
