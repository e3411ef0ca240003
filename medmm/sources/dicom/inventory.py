"""What DICOM files hold: headers read, grouped into series and their parts, one chosen by a stated rule.

Only headers are parsed here. Grouping never trusts file names, folders or InstanceNumber.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from medmm.errors import GeometryError, InputError, MultipleSeriesError, NoImageError
from medmm.sources.archive import Entry
from medmm.sources.dicom.header import Aside, Image, Slice, read_slices
from medmm.sources.dicom.kind import name_of
from medmm.sources.dicom.phases import split_phases
from medmm.sources.dicom.stack import Stack, are_even, stack

RULE = "CT before MR before PET before other; original before derived; most slices; of several phases the first"
COPY = "exact copy of another file"

_MODALITY_ORDER = {"CT": 0, "MR": 1, "PT": 2}
_SAME_DIRECTION = 1e-3  # direction cosines closer than this are one orientation (scanners jitter by 1e-5)
_SAME_SPACING = 1e-3  # share of the spacing


@dataclass(frozen=True, eq=False)
class Series:
    """Slices of one SeriesInstanceUID that may form one volume: one matrix, orientation, pixel spacing and phase.

    Attributes:
        slices: As found.
        phase: 1, 2 ... when it is one of several volumes at the same places, else 0.
        mark: The element that told phases apart.
        part, parts: Which of how many series this SeriesInstanceUID holds.
    """

    slices: tuple[Slice, ...]
    phase: int = 0
    mark: str = ""
    part: int = 1
    parts: int = 1

    @property
    def modality(self) -> str:
        """DICOM Modality of the series."""
        return self.slices[0].image.modality

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.slices[0].image.series_uid

    @property
    def name(self) -> str:
        """What `series=` takes for it: its UID, with `#part` when the UID holds several."""
        return self.uid if self.parts == 1 else f"{self.uid}#{self.part}"

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Sort key of `RULE`: lower is chosen first."""
        return (_MODALITY_ORDER.get(self.modality, 9), self.slices[0].derived, -len(self.slices))

    @cached_property
    def stack(self) -> Stack:
        """Its slices in spatial order.

        Raises:
            GeometryError, CorruptError: If the headers do not say where they lie.
        """
        return stack(self.slices)

    @property
    def kind(self) -> str:
        """What it is in words, e.g. `axial CT` or `derived coronal CT`."""
        try:
            plane = self.stack.grid_of(self.stack.positions[0], self.stack.normal, (1, 1, 1)).plane
        except InputError:
            plane = ""  # type: ignore[assignment] # no geometry, no plane
        words = ("derived" if self.slices[0].derived else "", plane, name_of(self.modality))
        return " ".join(word for word in words if word)

    def describe(self) -> str:
        """What it is in words, without identifiers."""
        image = self.slices[0].image
        part = f", part {self.part} of {self.parts}" if self.parts > 1 else ""
        phase = f" (phases told apart by {self.mark})" if self.mark else ""
        return f"{self.modality} series of {len(self.slices)} slices, {image.columns} x {image.rows}{part}{phase}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """All candidate series under one path, best first, and what was left out with its reason."""

    series: tuple[Series, ...]
    left_out: tuple[tuple[str, int], ...]
    asides: tuple[tuple[Aside, int], ...] = ()

    def choose(self, name: str | None = None) -> Series:
        """Pick the series to read.

        Args:
            name: SeriesInstanceUID (`UID#part` when it holds several) or a place in this inventory from 1, to override `RULE`.

        Raises:
            NoImageError: If there is no candidate, or none of this name.
            MultipleSeriesError: If the best two are equal under `RULE`.
            GeometryError: If the best is only a piece of a stack whose headers disagree.
        """
        candidates = [s for place, s in enumerate(self.series, 1) if name is None or name in {s.uid, s.name, str(place)}]
        if not candidates:
            found = "; ".join(f"{count} x {reason}" for reason, count in self.left_out) or "nothing of the kind"
            msg = f"Expected DICOM images that form a series; found: {found}. Point to the folder of an image series."
            raise NoImageError(msg)
        best = candidates[0]
        if len(candidates) > 1:
            _refuse_torn(best, candidates)
        equal = [s for s in candidates if s.rank == best.rank and (s.uid != best.uid or s.phase == best.phase)]
        if len(equal) > 1:
            listing = "; ".join(s.describe() for s in equal)
            msg = (
                f"Expected one best series; {len(equal)} candidates are equal under the rule ({RULE}): {listing}. "
                "Name one with series=."
            )
            raise MultipleSeriesError(msg)
        return best

    def summary(self, chosen: Series) -> tuple[dict[str, Any], ...]:
        """Every series and every kind of other object, without identifiers, JSON ready."""
        listed = [{"kind": s.kind, "description": s.describe(), "files": len(s.slices), "read": s is chosen} for s in self.series]
        others = [{"kind": a.kind, "description": a.reason, "files": n, "read": False} for a, n in self.asides]
        return (*listed, *others)


def take_inventory(entries: list[Entry]) -> Inventory:
    """Read the headers of DICOM entries and group them into series.

    Args:
        entries: Files already recognised as DICOM.
    """
    asides: Counter[Aside] = Counter()
    slices: list[Slice] = []
    for entry in entries:
        found = read_slices(entry)
        if isinstance(found, Aside):
            asides[found] += 1
        else:
            slices += found
    left_out: Counter[str] = Counter()
    for aside, count in asides.items():
        left_out[aside.reason] += count
    series = []
    for group in _groups(slices):
        kept = _without_copies(group)
        if len(kept) < len(group):
            left_out[COPY] += len(group) - len(kept)
        series += [Series(tuple(phase.slices), phase.number, phase.mark) for phase in split_phases(kept)]
    return Inventory(_numbered(series), tuple(sorted(left_out.items())), tuple(asides.items()))


def _groups(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Slices of one series, matrix, orientation and pixel spacing together."""
    alike: dict[tuple[object, ...], list[list[Slice]]] = defaultdict(list)
    for one in slices:
        image = one.image
        groups = alike[image.series_uid, image.modality, image.rows, image.columns]
        group = next((g for g in groups if _belongs(one, g[0])), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return [group for groups in alike.values() for group in groups]


def _belongs(one: Slice, other: Slice) -> bool:
    return _close(one.orientation, other.orientation, _SAME_DIRECTION, 0) and _close(one.spacing, other.spacing, 0, _SAME_SPACING)


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None, absolute: float, relative: float) -> bool:
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= absolute + relative * abs(y) for x, y in zip(a, b, strict=True))


def _numbered(series: list[Series]) -> tuple[Series, ...]:
    """Best first, by content alone where the rule does not say; each told which part of its SeriesInstanceUID it is."""
    ordered = sorted(series, key=lambda s: (s.rank, s.phase, s.uid, min((one.image.sop_uid, one.frame) for one in s.slices)))
    parts = Counter(s.uid for s in series)
    seen: Counter[str] = Counter()
    numbered = []
    for one in ordered:
        seen[one.uid] += 1
        numbered.append(replace(one, part=seen[one.uid], parts=parts[one.uid]))
    return tuple(numbered)


def _refuse_torn(best: Series, candidates: Sequence[Series]) -> None:
    """Raise when slices of another matrix or pixel spacing complete the best series to one even stack."""
    direction = best.slices[0].orientation
    pieces = [
        s for s in candidates
        if s.uid == best.uid and not s.phase and _close(s.slices[0].orientation, direction, _SAME_DIRECTION, 0)
    ]  # fmt: skip
    if best.phase or len(pieces) < 2:
        return
    try:
        whole = stack([one for piece in pieces for one in piece.slices])
    except InputError:
        return
    if not whole.repeated and are_even(whole.heights[:, np.newaxis], whole.tolerance):
        msg = (
            "Expected one PixelSpacing and one matrix in a series; its slices have several and together make one stack. "
            "Name one part with series=, or export the original series."
        )
        raise GeometryError(msg)


def _without_copies(group: list[Slice]) -> list[Slice]:
    """Drop slices that say the same as one already in the group: same file, or same header and pixels."""
    kept: dict[tuple[str, int], list[Slice]] = {}
    copies: dict[tuple[int, int], bool] = {}  # pairs of files already compared: one may hold hundreds of slices

    def is_copy(a: Slice, b: Slice) -> bool:
        pair = id(a.image), id(b.image)
        if pair not in copies:
            copies[pair] = _says_the_same(a.image, b.image)
        return copies[pair]

    for candidate in group:
        twins = kept.setdefault((candidate.image.sop_uid, candidate.frame), [])
        if not (candidate.image.sop_uid and any(is_copy(candidate, twin) for twin in twins)):
            twins.append(candidate)
    return [candidate for twins in kept.values() for candidate in twins]


def _says_the_same(a: Image, b: Image) -> bool:
    if a.header.values == b.header.values and a.header.pixels and b.header.pixels:
        return _pixel_bytes(a) == _pixel_bytes(b)
    return a.entry.size == b.entry.size and a.entry.read() == b.entry.read()


def _pixel_bytes(image: Image) -> bytes:
    assert image.header.pixels is not None
    offset, length = image.header.pixels
    with image.entry.open() as file:
        file.seek(offset)
        return file.read(length)
