from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medmm.deid.dataset import Deidentifier, Policy
from medmm.deid.findings import check_header, check_note, known_identifiers


def test_kinds_and_places_are_told_and_no_value(planted: Any) -> None:
    found = check_header(pydicom.dcmread(io.BytesIO(planted.content)))
    kinds = {f.kind for f in found}
    assert {"patient name", "patient number", "birth date", "contact", "person", "date", "free text", "private data"} <= kinds
    assert len(found) > 60
    assert [token for token in planted.tokens if token in str([f.to_dict() for f in found])] == []
    assert {f.where for f in found if f.kind == "birth date"} == {"PatientBirthDate"}


@pytest.mark.parametrize("policy", [Policy(), Policy(dates="shift", keep_patient=True)])
def test_what_we_deidentified_has_none(planted: Any, cleaned: Callable[..., Dataset], policy: Policy) -> None:
    assert check_header(cleaned(planted.content, Deidentifier(policy=policy))) == ()


@pytest.mark.parametrize("mark", [{"PatientIdentityRemoved": "YES"}, {"DeidentificationMethod": "by hand"}])
def test_a_stated_deidentification_is_believed_for_pseudonyms_only(slice_of: Callable[..., Dataset], mark: dict[str, str]) -> None:
    dataset = slice_of(PatientName="LIDC-0314", PatientID="LIDC-0314", StudyDate="20000101", **mark)
    assert check_header(dataset) == ()
    dataset.PatientBirthDate, dataset.PatientAddress = "19500203", "12 Elm Street"
    dataset.private_block(0x0009, "SOMEBODY", create=True).add_new(1, "LO", "x")
    assert [(f.kind, f.direct) for f in check_header(dataset)] == [("birth date", True), ("contact", True), ("private data", False)]


@pytest.mark.parametrize("name", ["", "ANONYMOUS", "Removed", "anon^", "^"])
def test_blanks_are_no_names(slice_of: Callable[..., Dataset], name: str) -> None:
    assert check_header(slice_of(PatientName=name, PatientBirthDate="", StudyDate="19000101")) == ()


def test_names_below_sequences_and_text_in_pixels_are_found(slice_of: Callable[..., Dataset]) -> None:
    item = Dataset()
    item.PatientName = "DOE^JANE"
    found = check_header(slice_of(AnatomicRegionSequence=Sequence([item]), BurnedInAnnotation="YES"))
    assert [(f.kind, f.where, f.direct) for f in found] == [
        ("patient name", "PatientName", True),
        ("text in pixels", "PixelData", True),
    ]


def test_a_note_is_told_by_kind_and_count() -> None:
    found = check_note("Dr. Brown, Dr. Green: MRN 123456, 3 May 2019. Doe.", ["DOE JANE"])
    assert [(f.kind, f.where, f.direct, f.count) for f in found] == [
        ("date", "note", False, 1), ("id", "note", True, 1), ("name", "note", True, 3),
    ]  # fmt: skip
    assert check_note("Nodule of 2.2 x 1.4 cm, image 30/116.") == ()


def test_the_headers_own_identifiers(slice_of: Callable[..., Dataset]) -> None:
    dataset = slice_of(PatientName="DOE^JANE", OtherPatientIDs=["A77777", "B88888"], OperatorsName="Miller^Sue", StudyID="")
    assert {"DOE JANE", "A77777", "B88888", "Miller Sue"} <= set(known_identifiers(dataset))
    assert "" not in known_identifiers(dataset)
