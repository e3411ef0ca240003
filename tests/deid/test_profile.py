from __future__ import annotations

import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as theirs

from medmm.deid.profile import profile, rule_for

_CODES = {
    "D": theirs.D_TAGS, "Z": theirs.Z_TAGS, "X": theirs.X_TAGS, "U": theirs.U_TAGS, "Z/D": theirs.Z_D_TAGS, "X/Z": theirs.X_Z_TAGS,
    "X/D": theirs.X_D_TAGS, "X/Z/D": theirs.X_Z_D_TAGS, "X/Z/U*": theirs.X_Z_U_STAR_TAGS,
}  # fmt: skip


def test_the_table_is_that_of_another_transcription_of_2026c() -> None:
    expected = {tag[0] << 16 | tag[1]: code for code, tags in _CODES.items() for tag in tags if len(tag) == 2}
    assert {tag: row.code for tag, row in profile().items()} == expected


@pytest.mark.parametrize(
    ("tag", "keyword", "vr", "action"),
    [
        (0x00100010, "PatientName", "PN", "empty"),
        (0x00204000, "ImageComments", "LT", "remove"),
        (0x0020000D, "StudyInstanceUID", "UI", "map"),
        (0x00081140, "ReferencedImageSequence", "SQ", "descend"),
        (0x00081110, "ReferencedStudySequence", "SQ", "remove"),  # X/Z; empty it would be invalid in an image
        (0x60023000, "OverlayData", "OW", "remove"),
        (0x60020022, "OverlayDescription", "LO", "remove"),  # not in the table, but nothing without its overlay
        (0x50043000, "CurveData", "OW", "remove"),
        (0x00091001, "", "UN", "remove"),
        (0x00100011, "", "UN", "remove"),  # newer than the dictionary
        (0x00080000, "GenericGroupLength", "UL", "remove"),
        (0x00181020, "SoftwareVersions", "LO", "dummy"),  # not in the table: free text
        (0x00080070, "Manufacturer", "LO", "keep"),
        (0x00280010, "Rows", "US", "keep"),
        (0x7FE00010, "PixelData", "OB or OW", "keep"),
        (0x00283006, "LUTData", "US or OW", "keep"),
        (0x00189073, "AcquisitionDuration", "FD", "keep"),
        (0x00200110, "TemporalResolution", "DA", "dummy"),  # a date where none belongs is a date
    ],
)
def test_what_becomes_of(tag: int, keyword: str, vr: str, action: str) -> None:
    assert rule_for(tag, keyword, vr).action == action


def test_codes_are_kept_only_of_public_schemes() -> None:
    assert rule_for(0x00080104, "CodeMeaning", "LO", public_code=True).action == "keep"
    assert rule_for(0x00080104, "CodeMeaning", "LO").action == "dummy"
