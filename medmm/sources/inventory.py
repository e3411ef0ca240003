"""What DICOM files hold: headers read, grouped into series, one series chosen by a stated rule.

Only headers are parsed here. Grouping never trusts file names, folders or InstanceNumber.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from medmm.errors import CorruptError, InputError, MultipleSeriesError, NoImageError
from medmm.sources.archive import Entry
from medmm.types import FloatArray

RULE = "CT before MR before PET before other; original before derived; most slices"

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "SeriesInstanceUID", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing",
]  # fmt: skip
_MODALITY_ORDER = {"CT": 0, "MR": 1, "PT": 2}
_NOT_AN_IMAGE = {"SR", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SEG", "REG", "PR", "KO", "RWV", "DOC", "PLAN"}
_SAME_DIRECTION = 1e-3  # direction cosines closer than this are one orientation (scanners jitter by 1e-5)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The header of one single-frame image."""

    entry: Entry
    sop_uid: str
    series_uid: str
    modality: str
    derived: bool
    rows: int
    columns: int
    position: FloatArray | None  # (3,) LPS mm of the centre of the first pixel
    orientation: FloatArray | None  # (6,) direction cosines of rows then columns, LPS
    spacing: FloatArray | None  # (2,) mm between rows, between columns


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Slices of one SeriesInstanceUID that share matrix and orientation."""

    slices: tuple[Slice, ...]

    @property
    def modality(self) -> str:
        """DICOM Modality of the series."""
        return self.slices[0].modality

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.slices[0].series_uid

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Sort key of `RULE`: lower is chosen first."""
        return (_MODALITY_ORDER.get(self.modality, 9), self.slices[0].derived, -len(self.slices))

    def describe(self) -> str:
        """What it is in words, without identifiers."""
        first = self.slices[0]
        return f"{self.modality} series of {len(self.slices)} slices, {first.columns} x {first.rows}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """All candidate series under one path, best first, and what was left out with its reason."""

    series: tuple[Series, ...]
    left_out: tuple[tuple[str, int], ...]

    def choose(self, uid: str | None = None) -> Series:
        """Pick the series to read.

        Args:
            uid: SeriesInstanceUID to override `RULE`.

        Raises:
            NoImageError: If there is no candidate, or none with this UID.
            MultipleSeriesError: If the best two are equal under `RULE`.
        """
        candidates = [s for s in self.series if uid is None or s.uid == uid]
        if not candidates:
            found = "; ".join(f"{count} x {reason}" for reason, count in self.left_out) or "nothing of the kind"
            msg = f"Expected DICOM images that form a series; found: {found}. Point to the folder of an image series."
            raise NoImageError(msg)
        if len(candidates) > 1 and candidates[0].rank == candidates[1].rank:
            listing = "; ".join(s.describe() for s in candidates)
            msg = (
                f"Expected one best series; {len(candidates)} candidates are equal under the rule ({RULE}): {listing}. "
                "Name one with series=."
            )
            raise MultipleSeriesError(msg)
        return candidates[0]


def take_inventory(entries: list[Entry]) -> Inventory:
    """Read the headers of DICOM entries and group them into series.

    Args:
        entries: Files already recognised as DICOM.
    """
    left_out: Counter[str] = Counter()
    groups: list[list[Slice]] = []
    for entry in entries:
        found = _read_header(entry)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        group = next((g for g in groups if _belongs(found, g[0])), None)
        if group is None:
            groups.append([found])
        else:
            group.append(found)
    series = sorted((Series(tuple(_without_copies(group, left_out))) for group in groups), key=lambda s: s.rank)
    return Inventory(tuple(series), tuple(sorted(left_out.items())))


def _read_header(entry: Entry) -> Slice | str:
    """The slice header, or the reason why this file is left out."""
    import pydicom

    try:
        with entry.open() as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)
            return _to_slice(entry, header)
    except InputError:
        raise
    except Exception:  # foreign bytes: whatever the parser throws means the same thing to the caller
        return "unreadable DICOM file"


def _to_slice(entry: Entry, header: Any) -> Slice | str:
    modality = str(header.get("Modality", "") or "OT")
    image_type = [str(v).upper() for v in header.get("ImageType", []) or []]
    if "Rows" not in header or "Columns" not in header or modality in _NOT_AN_IMAGE:
        return f"not an image ({modality})"
    if "LOCALIZER" in image_type or "SCOUT" in image_type:
        return "localizer"
    if int(header.get("SamplesPerPixel", 1) or 1) != 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
        return "colour picture, not a slice"
    if int(header.get("NumberOfFrames", 1) or 1) != 1:
        return "multi-frame object"
    return Slice(
        entry=entry,
        sop_uid=str(header.get("SOPInstanceUID", "")),
        series_uid=str(header.get("SeriesInstanceUID", "")),
        modality=modality,
        derived=bool(image_type) and image_type[0] == "DERIVED",
        rows=int(header.Rows),
        columns=int(header.Columns),
        position=_numbers(header, "ImagePositionPatient", 3),
        orientation=_numbers(header, "ImageOrientationPatient", 6),
        spacing=_numbers(header, "PixelSpacing", 2),
    )


def _numbers(header: Any, keyword: str, count: int) -> FloatArray | None:
    """A vector of finite numbers, None when absent.

    Raises:
        CorruptError: If present but not `count` finite numbers.
    """
    value = header.get(keyword)
    if value is None or value == "":
        return None
    try:
        vector = np.asarray([float(v) for v in value], dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (count,) or not np.isfinite(vector).all():
        msg = f"Expected {count} finite numbers in {keyword}; got something else. The header of a slice is damaged."
        raise CorruptError(msg)
    return vector


def _belongs(candidate: Slice, other: Slice) -> bool:
    """Same series, kind, matrix and orientation: these may form one volume."""
    if (candidate.series_uid, candidate.modality, candidate.rows, candidate.columns) != (
        other.series_uid, other.modality, other.rows, other.columns,
    ):  # fmt: skip
        return False
    if candidate.orientation is None or other.orientation is None:
        return candidate.orientation is other.orientation
    return bool(np.abs(candidate.orientation - other.orientation).max() < _SAME_DIRECTION)


def _without_copies(group: list[Slice], left_out: Counter[str]) -> list[Slice]:
    """Drop files that are byte-for-byte copies of one already in the group."""
    kept: dict[str, list[Slice]] = {}
    for candidate in group:
        twins = kept.setdefault(candidate.sop_uid, [])
        if candidate.sop_uid and any(_same_bytes(candidate.entry, twin.entry) for twin in twins):
            left_out["exact copy of another file"] += 1
        else:
            twins.append(candidate)
    return [candidate for twins in kept.values() for candidate in twins]


def _same_bytes(a: Entry, b: Entry) -> bool:
    return a.size == b.size and a.read() == b.read()
