"""Several volumes under one SeriesInstanceUID: phases, echoes, reconstructions at the same places, told apart by their headers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from medmm.errors import InputError
from medmm.sources.dicom.header import Slice
from medmm.sources.dicom.stack import Stack, stack

MARKS = (
    "ImageType", "TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers", "EchoTime", "TriggerTime", "ConvolutionKernel",
    "ContrastBolusAgent", "KVP", "AcquisitionTime",
)  # fmt: skip
"""Elements that may tell them apart, most telling first."""
_BY_NUMBER = "order of InstanceNumber"
_COVERS = 0.6  # of the whole's height: parts that each cover less are pieces of one volume, not phases


class Phase(NamedTuple):
    """One volume of several: which it is, and what told it apart (empty when there is only one)."""

    slices: Sequence[Slice]
    number: int = 0
    mark: str = ""


def split_phases(slices: Sequence[Slice]) -> list[Phase]:
    """Split slices that are not one regular volume into ones that are, if an element does so; else leave them together.

    Slices may be split where they repeat positions or where every part spans most of the whole, as
    interleaved acquisitions do. A stack with a hole or uneven distances is never cut into pieces.
    """
    try:
        whole = stack(slices)
    except InputError:
        return [Phase(slices)]
    if whole.is_regular or len(slices) < 4:
        return [Phase(slices)]
    for is_sound in (_regular, _without_repeats):
        for mark in MARKS:
            parts = _apart(slices, mark)
            if len(parts) > 1 and all(is_sound(part, whole) for part in parts):
                return [Phase(part, number, mark) for number, part in enumerate(parts, 1)]
    parts = _by_occurrence(whole) if whole.repeated else []
    if len(parts) > 1 and all(_regular(part, whole) for part in parts):
        return [Phase(part, number, _BY_NUMBER) for number, part in enumerate(parts, 1)]
    return [Phase(slices)]


def _regular(part: Sequence[Slice], whole: Stack) -> bool:
    own = stack(part)
    return len(part) > 1 and own.is_regular and (whole.repeated > 0 or own.heights[-1] > _COVERS * whole.heights[-1])


def _without_repeats(part: Sequence[Slice], whole: Stack) -> bool:
    return len(part) > 2 and whole.repeated > 0 and not stack(part).repeated


def _apart(slices: Iterable[Slice], mark: str) -> list[list[Slice]]:
    """Slices by the value of an element, numbers in their order, words as they come."""
    groups: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[one.header.text(mark)].append(one)
    return [groups[value] for value in sorted(groups, key=_numeric)]


def _numeric(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def _by_occurrence(whole: Stack) -> list[list[Slice]]:
    """The first image of every place, the second of every place ... when each place has equally many."""
    places: list[list[Slice]] = [[whole.slices[0]]]
    for one, distance in zip(whole.slices[1:], whole.distances, strict=True):
        if whole.is_same_place(distance):
            places[-1].append(one)
        else:
            places.append([one])
    numbered = [sorted(place, key=_number) for place in places]
    if len({len(place) for place in places}) > 1 or any(len(set(map(_number, place))) < len(place) for place in places):
        return []
    return [list(part) for part in zip(*numbered, strict=True)]


def _number(one: Slice) -> int:
    return one.header.count("InstanceNumber", -1)
