"""The Basic Application Level Confidentiality Profile of DICOM PS3.15 2026c, and what it is silent about.

profile.csv is table E.1-1. Where the table leaves a choice to the object at hand (`X/D`: remove
unless required), the choice is the one that keeps every object valid. What the table does not name
is judged by its value representation: people type names into any text field, so text is kept only
where it is known to describe equipment.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

PROFILE_NAME = "PS3.15 2026c Basic Profile"

Action = Literal["remove", "empty", "dummy", "map", "descend", "keep"]
KeptBy = Literal["", "dates", "patient"]

TEXT = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
DATES = frozenset({"DA", "DT", "TM"})

_ACTIONS: dict[str, Action] = {
    "X": "remove", "X/Z": "empty", "Z": "empty", "D": "dummy", "Z/D": "dummy", "X/D": "dummy", "X/Z/D": "dummy",
    "U": "map", "X/Z/U*": "descend",
}  # fmt: skip
_CURVES, _OVERLAYS = 0x5000, 0x6000

# Text of equipment and of public coding schemes, not of people.
_CODED = frozenset({
    "CodeMeaning", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "LongCodeValue", "URNCodeValue",
})  # fmt: skip
_EQUIPMENT = frozenset({
    "AttenuationCorrectionMethod", "ContrastBolusRoute", "ConvolutionKernel", "FilterType", "ImagedNucleus", "Manufacturer",
    "ManufacturerModelName", "ModalityLUTType", "PositionReferenceIndicator", "Radiopharmaceutical", "ReconstructionMethod",
    "RescaleType", "ScatterCorrectionMethod", "SequenceName", "WindowCenterWidthExplanation",
})  # fmt: skip
_PIXELS = frozenset({
    "BluePaletteColorLookupTableData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "FloatPixelData", "GreenPaletteColorLookupTableData", "ICCProfile", "LUTData", "PixelData",
    "RedPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
})  # fmt: skip
_PUBLIC_SCHEMES = frozenset({
    "DCM", "FMA", "LN", "MDC", "NCIt", "RADLEX", "RFC5646", "SCT", "SNM3", "SRT", "UCUM", "UMLS",
})  # fmt: skip


class Rule(NamedTuple):
    """What to do with one element, and the option that keeps it instead."""

    action: Action
    kept_by: KeptBy = ""


class Row(NamedTuple):
    """One line of table E.1-1."""

    name: str
    code: str
    rule: Rule


@cache
def profile() -> dict[int, Row]:
    """Table E.1-1 by tag, without its repeating groups."""
    with files("medmm.deid").joinpath("profile.csv").open(encoding="utf-8") as file:
        return {
            int(row["tag"], 16): Row(row["name"], row["action"], Rule(_ACTIONS[row["action"]], row["kept_by"]))  # type: ignore[arg-type] # as the file is
            for row in csv.DictReader(file)
        }


def vr_of(dataset: Any, tag: Any) -> str:
    """Value representation as written; where the file says nothing, or UN, the dictionary's."""
    from pydicom.datadict import dictionary_VR, keyword_for_tag

    stated = dataset.get_item(tag).VR
    if stated in (None, "UN") and keyword_for_tag(tag):
        return str(dictionary_VR(tag))
    return str(stated)


def rule_for(tag: int, keyword: str, vr: str, *, public_code: bool = False) -> Rule:
    """What becomes of an element.

    Args:
        tag: Group and element as one number.
        keyword: DICOM keyword; empty for what no dictionary knows.
        vr: Value representation as it stands in the file.
        public_code: Whether it stands in a code item of a public coding scheme.
    """
    group, element = tag >> 16, tag & 0xFFFF
    if not keyword or group % 2 or element == 0 or group & 0xFF00 in (_CURVES, _OVERLAYS):
        return Rule("remove")
    row = profile().get(tag)
    if row is None:
        return _silent(keyword, vr, public_code)
    if row.code == "X/Z" and vr == "SQ":  # optional in every image; without items it would be invalid there
        return Rule("remove")
    return row.rule


def is_public_scheme(designator: str) -> bool:
    """Whether a coding scheme is published, so that its codes cannot name anyone."""
    return designator.strip() in _PUBLIC_SCHEMES


def _silent(keyword: str, vr: str, public_code: bool) -> Rule:
    if vr == "SQ":
        return Rule("descend")
    if vr in TEXT:
        return Rule("keep" if keyword in _EQUIPMENT or (public_code and keyword in _CODED) else "dummy")
    if vr in DATES or vr == "AS":
        return Rule("dummy", "dates" if vr in DATES else "")
    if "O" in vr or vr == "UN":  # OB, OW and the ambiguous "US or OW"
        return Rule("keep" if keyword in _PIXELS else "remove")
    return Rule("keep")
