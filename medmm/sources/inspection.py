"""What lies under a path: every series with its geometry or the reason why not, and which one would be read."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from medmm.errors import InputError
from medmm.sources import dicom, open_study
from medmm.sources.archive import Entry, open_entries
from medmm.sources.inventory import RULE, Series, take_inventory
from medmm.sources.sniff import sort_by_kind


@dataclass(frozen=True, slots=True)
class Found:
    """One series or image.

    Attributes:
        description: In words, without identifiers.
        uid: SeriesInstanceUID, to be named with `series=`; empty when it is not DICOM.
        geometry: As in a study's summary; None when it is not one regular volume.
        warnings: (code, message) of what to know.
        code, message: Why it would be refused; empty when nothing in its headers speaks against it.
        chosen: Whether `open_study` would take it.
    """

    description: str
    uid: str = ""
    geometry: dict[str, Any] | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    code: str = ""
    message: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything found under a path.

    Attributes:
        found: Series and images, best first.
        left_out: (reason, files) of what is no candidate.
        rule: How one of several is chosen.
        code, message: Why nothing is chosen; empty when something is.
    """

    found: tuple[Found, ...]
    left_out: tuple[tuple[str, int], ...] = ()
    rule: str = RULE
    code: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def inspect_path(path: str | os.PathLike[str]) -> Inspection:
    """List what a path holds. DICOM pixels are not decoded; a NIfTI image or picture is read.

    Args:
        path: As for `open_study`.

    Raises:
        InputError: If the path cannot be opened, or is unsafe to.
    """
    with open_entries(path) as entries:
        kinds = sort_by_kind(entries)
        if kinds["dicom"]:
            others = len(entries) - len(kinds["dicom"])
            return _of_dicom(kinds["dicom"], (("file of another kind", others),) if others else ())
    return _of_other(path)


def _of_dicom(entries: list[Entry], others: tuple[tuple[str, int], ...]) -> Inspection:
    inventory = take_inventory(entries)
    chosen, code, message = None, "", ""
    try:
        chosen = inventory.choose()
    except InputError as error:
        code, message = error.code, error.message
    found = tuple(_of_series(series, chosen=series is chosen) for series in inventory.series)
    return Inspection(found, (*inventory.left_out, *others), code=code, message=message)


def _of_series(series: Series, *, chosen: bool) -> Found:
    try:
        grid, notices = dicom.measure(series)
    except InputError as error:
        return Found(series.describe(), series.uid, code=error.code, message=error.message, chosen=chosen)
    warnings = tuple((n.code, n.message) for n in notices)
    return Found(series.describe(), series.uid, grid.summary(), warnings, chosen=chosen)


def _of_other(path: str | os.PathLike[str]) -> Inspection:
    try:
        study = open_study(path)
    except InputError as error:
        return Inspection((), code=error.code, message=error.message)
    about, warnings = study.summary(), tuple((n.code, n.message) for n in study.notices)
    return Inspection(
        (Found(about["series"], geometry=about["geometry"], warnings=warnings, chosen=True),), study.provenance.left_out
    )
