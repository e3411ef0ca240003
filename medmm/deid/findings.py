"""A privacy check: what still identifies a patient in a header or a note, by kind, never by value.

Quick, because only headers are read. It cannot see text or faces in pixels, names in words that
nobody listed, or how rare a patient is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from dataclasses import asdict, dataclass
from typing import Any

from medmm.deid.burned_in import burned_in
from medmm.deid.note import find_identifiers
from medmm.deid.profile import DATES, profile, vr_of
from medmm.hush import hushed

_DIRECT = {
    "patient name": ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ResponsiblePerson"),
    "patient number": (
        "PatientID", "OtherPatientIDs", "OtherPatientIDsSequence", "PatientInsurancePlanCodeSequence", "MedicalRecordLocator",
    ),
    "birth date": ("PatientBirthDate",),
    "contact": ("PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation", "CountryOfResidence"),
}  # fmt: skip
_DIRECT_KINDS = frozenset({*_DIRECT, "text in pixels", "name", "id", "phone", "email", "ssn", "address"})
_SURVIVORS = ("birth date", "contact", "private data")  # what no de-identified object should still hold
_BLANKS = frozenset(
    {"", "ANON", "ANONYM", "ANONYMIZED", "ANONYMISED", "ANONYMOUS", "DEIDENTIFIED", "NONE", "REMOVED", "UNKNOWN", "NA"}
)
_NO_DATE = ("00010101", "19000101", "000000")
_KIND_OF_KEYWORD = {keyword: kind for kind, keywords in _DIRECT.items() for keyword in keywords}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One kind of identifier in one place.

    Attributes:
        kind: What it is, e.g. `patient name`, `date`, `private data`, `text in pixels`.
        where: DICOM keyword, or `note`.
        direct: Whether it alone can identify a patient.
        count: In how many files, or how often in the note.
    """

    kind: str
    where: str
    direct: bool
    count: int = 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def check_header(dataset: Any) -> tuple[Finding, ...]:
    """What identifies a patient in a DICOM data set.

    Names and numbers of an object that states PatientIdentityRemoved, or a de-identification method,
    are taken for pseudonyms.

    Args:
        dataset: As `pydicom.dcmread` returned it; pixels may be absent.
    """
    with hushed():
        return tuple(sorted(_findings(dataset)))


def check_note(text: str, known: Iterable[str] = ()) -> tuple[Finding, ...]:
    """What identifies people in a note.

    Args:
        text: Clinical text.
        known: As for `note.scrub_note`.
    """
    kinds = [span.kind for span in find_identifiers(text, known)]
    return tuple(Finding(kind, "note", kind in _DIRECT_KINDS, kinds.count(kind)) for kind in sorted(set(kinds)))


def known_identifiers(dataset: Any) -> tuple[str, ...]:
    """Names and numbers of a header, to be searched for in the note that comes with it."""
    keywords = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "StudyInstanceUID", "RequestedProcedureID")
    with hushed():
        values = [v for keyword in keywords for v in _values(dataset.get(keyword))]
        people = [v for tag in sorted(dataset.keys()) if vr_of(dataset, tag) == "PN" for v in _values(dataset[tag].value)]
    return tuple(sorted({v.replace("^", " ").strip() for v in (*values, *people)} - {""}))


def _findings(dataset: Any) -> Iterator[Finding]:
    found = dict(_walk(dataset))
    if str(dataset.get("PatientIdentityRemoved", "")) == "YES" or dataset.get("DeidentificationMethod"):
        found = {where: kind for where, kind in found.items() if kind in _SURVIVORS}
    if burned_in(dataset):
        found["PixelData"] = "text in pixels"
    for where, kind in found.items():
        yield Finding(kind, where, kind in _DIRECT_KINDS)


def _walk(dataset: Any) -> Iterator[tuple[str, str]]:
    """(keyword, kind) of every element of the profile that says something, at any depth."""
    from pydicom.datadict import keyword_for_tag

    for tag in sorted(dataset.keys()):
        if tag.is_private:
            if not tag.is_private_creator:
                yield "private elements", "private data"
            continue
        row, vr = profile().get(int(tag)), vr_of(dataset, tag)
        if vr == "SQ":
            for item in dataset[tag].value:
                yield from _walk(item)
        elif row and row.code != "U" and _says_something(dataset[tag]):
            keyword = keyword_for_tag(tag)
            yield keyword, _KIND_OF_KEYWORD.get(keyword) or _kind_of_vr(vr)


def _kind_of_vr(vr: str) -> str:
    if vr in DATES:
        return "date"
    return {"PN": "person", "AS": "patient characteristic", "CS": "patient characteristic"}.get(vr, "free text")


def _says_something(element: Any) -> bool:
    values = [v.strip(" ^\0").upper() for v in _values(element.value)]
    if element.VR in DATES:
        return any(v and not v.startswith(_NO_DATE) for v in values)
    return any(v not in _BLANKS for v in values)


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, MutableSequence) else [str(value)]
