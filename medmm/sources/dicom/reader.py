"""A DICOM series to one volume: order and spacing from positions, intensities to HU slice by slice.

    files --header--> slices --inventory--> series --stack--> geometry --pixels--> values --repair--> volume

What does not add up to one regular volume is refused with its own error, unless a repair was asked
for (table of cases: docs/reading.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from medmm.sources.archive import Entry
from medmm.sources.dicom.assembly import assemble
from medmm.sources.dicom.inventory import RULE, take_inventory
from medmm.sources.dicom.repair import Repair
from medmm.study import Notice, Provenance, Study

_FIRST_ELEMENTS = (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00")  # low group numbers, file meta or identifying


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes look like DICOM, with or without a preamble."""
    if head[128:132] == b"DICM":
        return True
    return len(head) > 8 and head[:2] in (b"\x08\x00", b"\x02\x00") and head[2:4] in _FIRST_ELEMENTS


def read_study(entries: list[Entry], series: str | None = None, repair: Sequence[Repair] = ()) -> Study:
    """Read the best series among DICOM files.

    Args:
        entries: Files recognised by `is_dicom`.
        series: SeriesInstanceUID (`UID#part` when it holds several), or its number, to read instead of the one `RULE` picks.
        repair: What may be mended; everything done is in provenance and notices.

    Returns:
        A study with one volume, its provenance and notices.

    Raises:
        InputError: One of its leaves for everything that is not one regular volume.
    """
    inventory = take_inventory(entries)
    chosen = inventory.choose(series)
    assembled = assemble(chosen, repair)
    others = tuple((f"another series: {s.describe()}", len(s.slices)) for s in inventory.series if s is not chosen)
    notices = list(assembled.notices)
    if others:
        listing = "; ".join(reason.removeprefix("another series: ") for reason, _ in others)
        message = f"Read the {chosen.describe()} (rule: {RULE}). Not read: {listing}."
        notices = [Notice("W_OTHER_SERIES", message), *notices]
    if inventory.left_out:
        listing = "; ".join(f"{count} x {reason}" for reason, count in inventory.left_out)
        notices.append(Notice("W_LEFT_OUT", f"Files left out: {listing}."))
    provenance = Provenance(
        source="dicom",
        chosen=chosen.describe(),
        rule="named by the caller" if series else RULE,
        left_out=(*others, *inventory.left_out),
        repairs=assembled.repairs,
        inventory=inventory.summary(chosen),
    )
    return Study(volumes=(assembled.volume,), notices=tuple(notices), provenance=provenance)
