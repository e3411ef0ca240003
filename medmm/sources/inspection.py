"""What lies under a path: every series with its geometry or the reason why not, and which one would be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from medmm.errors import InputError, NotHounsfieldError
from medmm.sources.archive import Entry, open_entries
from medmm.sources.dicom.assembly import measure
from medmm.sources.dicom.directory import count_absent, root_of
from medmm.sources.dicom.inventory import RULE, Series, take_inventory
from medmm.sources.dicom.kind import syntax_name
from medmm.sources.dicom.repair import Repair, as_repairs
from medmm.sources.dicom.units import rescale_of, unit_of
from medmm.sources.opener import open_study
from medmm.sources.sniff import sort_by_kind


@dataclass(frozen=True, slots=True)
class Found:
    """One series or image that might be read.

    Attributes:
        description: In words, without identifiers.
        number: Its place here from 1, which `series=` takes too; 0 when it is not DICOM.
        uid: SeriesInstanceUID; empty when it is not DICOM.
        name: What `series=` takes for it: the UID, with `#part` when the UID holds several.
        kind: What it is: `axial CT`, `derived coronal CT`, `MR`, `PET` ...
        files: Slices.
        geometry: As in a study's summary; None when it is not one regular volume.
        distances_mm: Smallest, usual and largest distance of neighbouring slices; None when positions say nothing.
        missing: Whole slices missing between others.
        tilt_degrees: Between slice normal and stacking direction.
        values: What the numbers are once read: `HU`, a PET unit, `intensity`, or why not.
        transfer_syntax: How the pixels are encoded, in words.
        lossy: Whether compression lost information.
        warnings: (code, message) of what to know.
        code, message: Why it would be refused; empty when nothing in its headers speaks against it.
        chosen: Whether `open_study` would take it.
    """

    description: str
    number: int = 0
    uid: str = ""
    name: str = ""
    kind: str = ""
    files: int = 1
    geometry: dict[str, Any] | None = None
    distances_mm: tuple[float, float, float] | None = None
    missing: int = 0
    tilt_degrees: float = 0.0
    values: str = ""
    transfer_syntax: str = ""
    lossy: bool = False
    warnings: tuple[tuple[str, str], ...] = ()
    code: str = ""
    message: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """DICOM files of one series that are no slices of a volume: what they are, how many, and why they are left out."""

    kind: str
    uid: str
    files: int
    reason: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything found under a path.

    Attributes:
        found: Series and images, best first.
        others: DICOM objects of other kinds.
        left_out: (reason, files) of what is no candidate.
        rule: How one of several is chosen.
        code, message: Why nothing is chosen; empty when something is.
    """

    found: tuple[Found, ...]
    others: tuple[Other, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    rule: str = RULE
    code: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def inspect_path(path: str | os.PathLike[str], repair: Sequence[str] = ()) -> Inspection:
    """List what a path holds. DICOM pixels are not decoded; a NIfTI image or picture is read.

    Args:
        path: As for `open_study`.
        repair: As for `open_study`: geometry is then what the repaired volume would have.

    Raises:
        InputError: If the path cannot be opened, or is unsafe to.
    """
    repairs = as_repairs(repair)
    with open_entries(root_of(path)) as entries:
        kinds = sort_by_kind(entries)
        if kinds["dicom"]:
            others = len(entries) - len(kinds["dicom"])
            apart = [("file of another kind", others)] if others else []
            absent = count_absent(entries)
            apart += [("file that the DICOMDIR lists and that is not there", absent)] if absent else []
            return _of_dicom(kinds["dicom"], tuple(apart), repairs)
    return _of_other(path)


def _of_dicom(entries: list[Entry], apart: tuple[tuple[str, int], ...], repair: Sequence[Repair]) -> Inspection:
    inventory = take_inventory(entries)
    chosen, code, message = None, "", ""
    try:
        chosen = inventory.choose()
    except InputError as error:
        code, message = error.code, error.message
    found = tuple(
        replace(_of_series(series, repair, chosen=series is chosen), number=number)
        for number, series in enumerate(inventory.series, 1)
    )
    others = tuple(Other(aside.kind, aside.series_uid, files, aside.reason) for aside, files in inventory.asides)
    return Inspection(found, others, (*inventory.left_out, *apart), code=code, message=message)


def _of_series(series: Series, repair: Sequence[Repair], *, chosen: bool) -> Found:
    image, code, message = series.slices[0].image, "", ""
    geometry: dict[str, Any] | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    values: str = unit_of(series.slices[0])
    try:
        grid, notices = measure(series, repair)
        geometry, warnings = grid.summary(), tuple((n.code, n.message) for n in notices)
        for one in series.slices:
            rescale_of(one)
    except InputError as error:
        code, message = error.code, error.message
        values = "not HU" if isinstance(error, NotHounsfieldError) else values
    return Found(
        series.describe(), uid=series.uid, name=series.name, kind=series.kind, files=len(series.slices), geometry=geometry,
        **_spread(series), values=values, transfer_syntax=syntax_name(image.header.syntax),
        lossy=any(one.image.lossy for one in series.slices), warnings=warnings, code=code, message=message, chosen=chosen,
    )  # fmt: skip


def _spread(series: Series) -> dict[str, Any]:
    """How the slices lie, whether or not that makes a volume."""
    try:
        stack = series.stack
    except InputError:
        return {}
    if len(stack.slices) == 1:
        return {}
    near, far = float(stack.distances.min()), float(stack.distances.max())
    distances = (round(near, 4), round(float(np.median(stack.distances)), 4), round(far, 4))
    return {"distances_mm": distances, "missing": int(stack.gaps.sum()), "tilt_degrees": round(stack.tilt, 2)}


def _of_other(path: str | os.PathLike[str]) -> Inspection:
    try:
        study = open_study(path)
    except InputError as error:
        return Inspection((), code=error.code, message=error.message)
    about, warnings = study.summary(), tuple((n.code, n.message) for n in study.notices)
    found = Found(
        about["series"], kind=study.provenance.source, geometry=about["geometry"], values=study.volumes[0].unit,
        warnings=warnings, chosen=True,
    )  # fmt: skip
    return Inspection((found,), left_out=study.provenance.left_out)
