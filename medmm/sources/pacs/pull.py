"""One study from a PACS into one folder: all of it, nothing else, or nothing.

The archive first lists what the study holds. Only listed instances are taken, each is checked to be
what it was listed as, and the folder appears when all are there. File names are numbers; no name or
number of the archive ever becomes one.
"""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from medmm.disk import appearing, replace_bytes
from medmm.errors import InputError, MedmmError, NoImageError, RemoteError, TooLargeError
from medmm.hush import hushed
from medmm.settings import LIMITS

SECONDS = 600.0
_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+")
_LONGEST_UID = 64
_IDENTITY = ["StudyInstanceUID", "SOPInstanceUID"]


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; empty fields match everything, `*` stands for any text.

    Attributes:
        patient: PatientID.
        accession: AccessionNumber.
        date: StudyDate as `20210131` or `20210101-20210131`.
        modality: One modality that the study holds.
    """

    patient: str = ""
    accession: str = ""
    date: str = ""
    modality: str = ""

    def attributes(self) -> dict[str, str]:
        """By DICOM keyword, without the empty ones."""
        named = {
            "PatientID": self.patient, "AccessionNumber": self.accession, "StudyDate": self.date,
            "ModalitiesInStudy": self.modality,
        }  # fmt: skip
        return {keyword: value for keyword, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """One answer: what is needed to choose a study, and nothing of its patient."""

    uid: str
    date: str
    modalities: tuple[str, ...]
    description: str
    instances: int | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came: instances and their bytes, and how many unlisted ones were sent and not kept."""

    instances: int
    bytes: int
    not_kept: int

    def to_dict(self) -> dict[str, int]:
        """JSON-ready form."""
        return asdict(self)


class Archive(Protocol):
    """A PACS.

    Contract: every failure is a `RemoteError` without address, credentials or identifiers;
    `receive` hands over whole files and stops as soon as `take` answers False.
    """

    def find(self, query: Query, limit: int) -> list[FoundStudy]:
        """Studies that match, at most `limit`."""
        ...

    def list_instances(self, study: str) -> Mapping[str, str]:
        """SOPClassUID by SOPInstanceUID of everything in a study."""
        ...

    def receive(self, study: str, listed: Mapping[str, str], take: Callable[[bytes], bool]) -> None:
        """Fetch a study; `take` gets each file."""
        ...


def pull(archive: Archive, study: str, out: Path, *, seconds: float = SECONDS) -> Pulled:
    """Fetch one study into a folder that appears when all of it is there.

    Args:
        archive: Where from.
        study: StudyInstanceUID.
        out: New or empty folder.
        seconds: Time for all of it.

    Raises:
        InputError: If `study` is no UID.
        NoImageError: If the archive has no such study.
        TooLargeError: If it is over a limit of `medmm.settings.Limits`.
        RemoteError: If the archive fails, takes too long, or sends less than it lists.
        StoreError: If `out` holds something or cannot be written.
    """
    with appearing(out) as folder:
        return fetch(archive, study, folder, seconds=seconds)


def fetch(archive: Archive, study: str, folder: Path, *, seconds: float = SECONDS) -> Pulled:
    """Fetch one study into an empty folder, where a failure may leave a part of it; arguments and errors are those of `pull`."""
    if not is_uid(study):
        msg = (
            "Expected a StudyInstanceUID: numbers joined by dots, at most 64 characters; got something else. List with medmm find."
        )
        raise InputError(msg)
    listed = archive.list_instances(study)
    if not listed:
        msg = "Expected a study that the archive holds; it lists nothing under this UID. List with medmm find."
        raise NoImageError(msg)
    if len(listed) > LIMITS.files:
        msg = f"Expected a study of at most {LIMITS.files:,} instances; the archive lists {len(listed):,}."
        raise TooLargeError(msg)
    inbox = Inbox(folder, study, listed, time.monotonic() + seconds)
    try:
        archive.receive(study, listed, inbox.take)
    except RemoteError as error:  # why we stopped taking says more than what the archive makes of it
        raise (inbox.error or error) from None
    return inbox.close()


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID (PS3.5 9.1)."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def found_study(answer: Any) -> FoundStudy:
    """An answer of an archive, as a data set, in our words."""
    modalities = answer.get("ModalitiesInStudy") or []
    instances = answer.get("NumberOfStudyRelatedInstances")
    return FoundStudy(
        uid=str(answer.get("StudyInstanceUID", "")),
        date=str(answer.get("StudyDate", "") or ""),
        modalities=(modalities,) if isinstance(modalities, str) else tuple(modalities),
        description=str(answer.get("StudyDescription", "") or ""),
        instances=None if instances in (None, "") else int(instances),
    )


class Inbox:
    """Takes files as they come, from any thread, and refuses what is not of the study or over a limit.

    Attributes:
        error: Why it stopped taking; None while it takes.
    """

    def __init__(self, folder: Path, study: str, listed: Mapping[str, str], deadline: float) -> None:
        self._folder, self._study, self._deadline = folder, study, deadline
        self._listed, self._waiting = listed, set(listed)
        self._bytes = self._not_kept = 0
        self._lock = threading.Lock()
        self.error: MedmmError | None = None

    def take(self, content: bytes) -> bool:
        """Keep one file; False when no more is wanted."""
        with self._lock:
            try:
                if self.error is None:
                    self._keep(content)
            except MedmmError as error:
                self.error = error
            return self.error is None

    def close(self) -> Pulled:
        """What came.

        Raises:
            MedmmError: Why it stopped taking, or that something is missing.
        """
        if self.error:
            raise self.error
        if self._waiting:
            msg = (
                f"Expected all {len(self._listed)} instances that the archive lists; {len(self._waiting)} did not come. "
                "Try again, or ask the archive's administrator which it may send."
            )
            raise RemoteError(msg)
        return Pulled(len(self._listed), self._bytes, self._not_kept)

    def _keep(self, content: bytes) -> None:
        if time.monotonic() > self._deadline:
            msg = "Expected the study within the time limit; it took longer. Give more with --seconds."
            raise RemoteError(msg)
        study, instance = _identity(content)
        if study != self._study or instance not in self._listed:
            self._not_kept += 1
            return
        self._bytes += len(content)
        if len(content) > LIMITS.file_bytes or self._bytes > LIMITS.total_bytes:
            msg = (
                f"Expected a study of at most {LIMITS.total_bytes >> 20:,} MB; it has more. Fetch one of its series by other means."
            )
            raise TooLargeError(msg)
        if instance in self._waiting:
            self._waiting.remove(instance)
            replace_bytes(self._folder / f"{len(self._listed) - len(self._waiting):06d}.dcm", content)


def _identity(content: bytes) -> tuple[str, str]:
    """Study and instance UID of a file; empty for what cannot be read."""
    import pydicom

    try:
        with hushed():
            header = pydicom.dcmread(io.BytesIO(content), specific_tags=_IDENTITY, stop_before_pixels=True)
            return str(header.get("StudyInstanceUID", "")), str(header.get("SOPInstanceUID", ""))
    except Exception:  # foreign bytes: whatever the parser throws means the same thing
        return "", ""
