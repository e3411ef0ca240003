"""De-identification, and the privacy check, of everything under a path."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medmm.deid.burned_in import shows_a_head
from medmm.deid.findings import Finding, check_header, check_note, known_identifiers
from medmm.deid.note import scrub_note
from medmm.disk import appearing, replace_bytes
from medmm.errors import CorruptError, MedmmError, NoImageError
from medmm.hush import hushed
from medmm.sources.archive import Entry, open_entries
from medmm.sources.inflate import open_dicom
from medmm.sources.sniff import sort_by_kind
from medmm.types import OnProgress

_DAMAGED = "Expected readable DICOM files; one is damaged. Copy or export the files again."
_ONLY_DIRECTORIES = "Expected DICOM objects; found only a DICOMDIR. Point to the folder it lists."


@dataclass(frozen=True, slots=True)
class Deidentified:
    """What `deidentify` did.

    Attributes:
        written: Files written.
        left_out: (reason, files) of what is not DICOM or a directory of names.
        refused: (code, message, files) of DICOM files that were not written.
        heads: Files from which a face could be rendered; faces are not removed.
        note: (kind, count) of what was replaced in the note; None without one.
    """

    written: int
    left_out: tuple[tuple[str, int], ...]
    refused: tuple[tuple[str, str, int], ...]
    heads: int
    note: tuple[tuple[str, int], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def deidentify(
    path: str | os.PathLike[str],
    out: Path,
    deidentifier: Callable[[Any], None],
    *,
    note: str | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Deidentified:
    """Write every DICOM file under a path without what identifies its patient.

    `out` appears when all is done, with folders and files named by numbers. Pixel bytes and transfer
    syntax stay, but a deflated data set comes out inflated.

    Args:
        path: File, folder or zip.
        out: New or empty folder.
        deidentifier: A `deid.dataset.Deidentifier`, which changes a data set in place.
        note: Clinical text to scrub into `note.txt`, also of what the headers say of the patient.
        on_progress: Told (what, done, total).

    Raises:
        NoImageError: If there is no DICOM file.
        InputError: If every file was refused; the error is that of the first, e.g. PhiError for text in its pixels.
        StoreError: If `out` holds something or cannot be written.
    """
    with open_entries(path) as entries, appearing(out) as folder:
        dicom = sort_by_kind(entries)["dicom"]
        if not dicom:
            msg = f"Expected DICOM; none of the {len(entries)} files is. Names inside other formats are not looked for."
            raise NoImageError(msg)
        writing = _Writing(folder, deidentifier)
        for done, entry in enumerate(dicom, start=1):
            with hushed():
                writing.add(entry)
            on_progress("removing identifiers", done, len(dicom))
        left_out = writing.left_out + Counter({"not DICOM": len(entries) - len(dicom)})
        if not writing.written:
            raise writing.first_refusal or NoImageError(_ONLY_DIRECTORIES)
        scrubbed = None if note is None else scrub_note(note, writing.known)
        if scrubbed:
            replace_bytes(folder / "note.txt", scrubbed.text.encode())
    refused = tuple((code, message, count) for (code, message), count in sorted(writing.refused.items()))
    replaced = tuple(scrubbed.replaced.items()) if scrubbed else None
    return Deidentified(writing.written, tuple(sorted(left_out.items())), refused, writing.heads, replaced)


def check_phi(path: str | os.PathLike[str] | None = None, note: str | None = None) -> tuple[Finding, ...]:
    """What still identifies a patient under a path and in a note, by kind, never by value.

    Only headers are read: see `deid.findings` for what that cannot tell.

    Args:
        path: File, folder or zip; files that are not DICOM have no header to check.
        note: Clinical text; also searched for what the headers say of the patient.

    Raises:
        InputError: If the path or a DICOM file cannot be read safely.
    """
    counts: Counter[Finding] = Counter()
    known: set[str] = set()
    if path is not None:
        with open_entries(path) as entries, hushed():
            for entry in sort_by_kind(entries)["dicom"]:
                found, identifiers = _look(entry)
                counts.update(found)
                known.update(identifiers)
    in_headers = [Finding(f.kind, f.where, f.direct, count) for f, count in counts.items()]
    return tuple(sorted([*in_headers, *(check_note(note, known) if note else ())]))


class _Writing:
    """Files written so far, under numbers in the order in which studies and series appear."""

    def __init__(self, folder: Path, deidentifier: Callable[[Any], None]) -> None:
        self._folder, self._deidentify = folder, deidentifier
        self._studies: dict[str, tuple[int, dict[str, int]]] = {}  # number of a study and of each of its series
        self.first_refusal: MedmmError | None = None
        self.written = self.heads = 0
        self.known: set[str] = set()
        self.left_out: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()

    def add(self, entry: Entry) -> None:
        """Write one file, or count why not."""
        from medmm.deid.dataset import to_bytes

        try:
            dataset = _read(entry)
            if "DirectoryRecordSequence" in dataset:
                self.left_out["DICOMDIR, a list of names"] += 1
                return
            self.known.update(known_identifiers(dataset))
            head = shows_a_head(dataset)
            self._deidentify(dataset)
            content = to_bytes(dataset)
        except MedmmError as error:
            self._refuse(error)
            return
        except (Exception, RecursionError, MemoryError):  # foreign bytes: whatever the parser throws means the same thing
            self._refuse(CorruptError(_DAMAGED))
            return
        self.written, self.heads = self.written + 1, self.heads + head
        replace_bytes(self._place(str(dataset.get("StudyInstanceUID", "")), str(dataset.get("SeriesInstanceUID", ""))), content)

    def _refuse(self, error: MedmmError) -> None:
        self.first_refusal = self.first_refusal or error
        self.refused[error.code, error.message] += 1

    def _place(self, study: str, series: str) -> Path:
        study_number, all_series = self._studies.setdefault(study, (len(self._studies) + 1, {}))
        series_number = all_series.setdefault(series, len(all_series) + 1)
        folder = self._folder / f"study{study_number:03d}" / f"series{series_number:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.written:06d}.dcm"


def _read(entry: Entry, *, header_only: bool = False) -> Any:
    import pydicom

    with open_dicom(entry) as file:
        dataset = pydicom.dcmread(file, stop_before_pixels=header_only, force=True)
    if not dataset:
        raise CorruptError(_DAMAGED)
    return dataset


def _look(entry: Entry) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What a header tells of its patient: findings, and the identifiers to search a note for."""
    try:
        header = _read(entry, header_only=True)
        return check_header(header), known_identifiers(header)
    except MedmmError:
        raise
    except (Exception, RecursionError, MemoryError):  # as in _Writing.add
        raise CorruptError(_DAMAGED) from None
