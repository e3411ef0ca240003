"""A DICOM data set without its patient: the Basic Profile applied in place, pixel bytes untouched."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

import medmm
from medmm.deid.burned_in import burned_in
from medmm.deid.profile import PROFILE_NAME, TEXT, Rule, is_public_scheme, rule_for, vr_of
from medmm.deid.pseudonym import Pseudonyms
from medmm.errors import PhiError
from medmm.hush import hushed

DUMMY = "ANONYMIZED"
_DUMMIES: dict[str, Any] = {
    "AS": "000Y", "AT": 0, "DA": "19000101", "DS": "0", "DT": "19000101000000", "IS": "0", "TM": "000000",
    "UR": "https://anonymized.invalid", "CS": DUMMY, **dict.fromkeys(TEXT - {"UR"}, DUMMY),
}  # fmt: skip
_CODES = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
}
_NUMBER = re.compile(r"[-+0-9.eE\\ \0]*")
_UID = re.compile(r"[0-9.\\ \0]*")
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})()")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{0,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)")
_TIME = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?")
_OLDEST = 90  # ages above 89 are rare enough to identify
_IMPLEMENTATION = "2.25.202992781133402250775534504542483704338"


@dataclass(frozen=True, slots=True)
class Policy:
    """What may stay.

    Attributes:
        dates: `remove` all, or `shift` a patient's dates together by a secret number of days (113107); times of day then stay.
        keep_patient: Keep sex, age (at most 90 years), size, weight and the like (113108).
        allow_burned_in: Do not refuse images whose pixels may show text.
    """

    dates: Literal["remove", "shift"] = "remove"
    keep_patient: bool = False
    allow_burned_in: bool = False


class _Patient(NamedTuple):
    name: str
    days: int


class Deidentifier:
    """Removes what identifies a patient from data sets, consistently over many.

    Args:
        pseudonyms: Where new identifiers come from.
        policy: What may stay.
    """

    def __init__(self, pseudonyms: Pseudonyms | None = None, policy: Policy | None = None) -> None:
        self._pseudonyms = pseudonyms or Pseudonyms()
        self._policy = policy or Policy()

    def __call__(self, dataset: Any) -> None:
        """De-identify a data set as `pydicom.dcmread` returned it, in place, with its file meta and preamble.

        Args:
            dataset: With or without pixels, which are not looked at.

        Raises:
            PhiError: If its pixels may show text and the policy does not allow that.
        """
        with hushed():
            self._deidentify(dataset)

    def _deidentify(self, dataset: Any) -> None:
        reason = burned_in(dataset)
        if reason and not self._policy.allow_burned_in:
            msg = f"Expected pixels without text; got an image that may show some ({reason}). Look at it; then --allow-burned-in."
            raise PhiError(msg)
        old = str(dataset.get("PatientID", "") or "")
        patient = _Patient(self._pseudonyms.patient(old), self._pseudonyms.days(old or str(dataset.get("StudyInstanceUID", ""))))
        self._clean(dataset, patient)
        dataset.PatientName = dataset.PatientID = patient.name
        self._mark(dataset, pixels_cleared=not reason)
        _renew_file_meta(dataset)

    def _clean(self, dataset: Any, patient: _Patient) -> None:
        public_code = is_public_scheme(str(dataset.get("CodingSchemeDesignator", "")))
        for tag in sorted(dataset.keys()):
            vr = vr_of(dataset, tag)
            rule = rule_for(int(tag), keyword_for_tag(tag), vr, public_code=public_code)
            self._apply(rule, dataset, tag, vr, patient)

    def _apply(self, rule: Rule, dataset: Any, tag: Any, vr: str, patient: _Patient) -> None:
        """Do to one element what its rule says."""
        if rule.kept_by == "dates" and self._policy.dates == "shift" and _shift(dataset, tag, vr, patient.days):
            return
        action = "keep" if rule.kept_by == "patient" and self._policy.keep_patient else rule.action
        if action == "remove":
            del dataset[tag]
        elif action == "empty":
            dataset[tag] = _empty(tag, vr)
        elif action == "dummy":
            self._replace(dataset, tag, vr)
        elif action == "map":
            self._map(dataset, tag)
        elif action == "descend":
            for item in _items(dataset, tag):
                self._clean(item, patient)
        else:
            self._keep(dataset, tag, vr)

    def _keep(self, dataset: Any, tag: Any, vr: str) -> None:
        """Leave a value, unless it is not what its representation promises: then it may be anything."""
        if vr == "UI" and not _UID.fullmatch(_text(dataset, tag)):
            self._map(dataset, tag)
        elif vr in ("DS", "IS") and not _NUMBER.fullmatch(_text(dataset, tag)):
            dataset[tag] = _empty(tag, vr)
        elif vr == "AS":
            _cap_age(dataset, tag)

    def _replace(self, dataset: Any, tag: Any, vr: str) -> None:
        """Put a value without meaning in the place of one; in a sequence, of every one."""
        if vr == "SQ":
            for item in _items(dataset, tag):
                self._scrub(item)
        elif vr == "UI":
            self._map(dataset, tag)
        elif dataset.get_item(tag).value not in (None, b"", ""):
            dataset[tag] = DataElement(tag, vr, _DUMMIES.get(vr, b"\0\0" if vr[0] == "O" or vr == "UN" else 0))

    def _scrub(self, item: Any) -> None:
        for tag in sorted(item.keys()):
            if keyword_for_tag(tag) and not tag.is_private:
                self._replace(item, tag, vr_of(item, tag))
            else:
                del item[tag]

    def _map(self, dataset: Any, tag: Any) -> None:
        """Replace UIDs; what is sequence or binary where a UID should stand goes."""
        values = [v.strip(" \0") for v in _text(dataset, tag).split("\\")]
        dataset[tag] = DataElement(tag, "UI", "\\".join(self._pseudonyms.uid(v) for v in values))

    def _mark(self, dataset: Any, *, pixels_cleared: bool) -> None:
        """State in the object what was done to it."""
        shift = self._policy.dates == "shift"
        chosen = ["basic", *(["dates"] if shift else []), *(["patient"] if self._policy.keep_patient else [])]
        dataset.PatientIdentityRemoved = "YES" if pixels_cleared else "NO"
        dataset.DeidentificationMethod = f"medmm {medmm.__version__}, {PROFILE_NAME}"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED" if shift else "REMOVED"
        dataset.DeidentificationMethodCodeSequence = Sequence(_code(*_CODES[option]) for option in chosen)


def to_bytes(dataset: Any) -> bytes:
    """The file: zero preamble, new file meta, the transfer syntax it came in."""
    out = io.BytesIO()
    with hushed():
        pydicom.dcmwrite(out, dataset, enforce_file_format=False)
    return out.getvalue()


def _items(dataset: Any, tag: Any) -> list[Any]:
    value = dataset[tag].value
    return list(value) if isinstance(value, Sequence) else []


def _text(dataset: Any, tag: Any) -> str:
    """The value as text, values joined by backslashes; empty for anything that is no text."""
    value = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, Sequence) else "\\".join(str(v) for v in value)


def _empty(tag: Any, vr: str) -> DataElement:
    return DataElement(tag, vr, [] if vr == "SQ" else None)


def _shift(dataset: Any, tag: Any, vr: str, days: int) -> bool:
    """Move dates by some days and leave times of day; False where one cannot be read, so that it goes instead."""
    values = [value.strip(" \0") for value in _text(dataset, tag).split("\\")]
    if vr == "TM":
        return all(_TIME.fullmatch(value) for value in values)
    moved = [_moved(value, vr, days) for value in values]
    if None in moved:
        return False
    dataset[tag] = DataElement(tag, vr, "\\".join(filter(None, moved)))
    return True


def _moved(value: str, vr: str, days: int) -> str | None:
    match = (_DATE if vr == "DA" else _DATE_TIME).fullmatch(value)
    try:
        day = date(int(match[1]), int(match[2]), int(match[3])) + timedelta(days=days) if match else None
    except (ValueError, OverflowError):
        day = None
    return f"{day:%Y%m%d}{match[4]}" if day and match else None


def _cap_age(dataset: Any, tag: Any) -> None:
    match = re.fullmatch(r"(\d{1,3})Y", _text(dataset, tag).strip(" \0"))
    if match and int(match[1]) > _OLDEST:
        dataset[tag] = DataElement(tag, "AS", f"{_OLDEST:03d}Y")


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _renew_file_meta(dataset: Any) -> None:
    """File meta anew, with nothing of who sent or wrote the file; a preamble of zeros."""
    old = getattr(dataset, "file_meta", None) or {}
    syntax = old.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # pydicom counts
    meta.FileMetaInformationVersion = b"\0\1"
    if "SOPClassUID" in dataset:
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    if "SOPInstanceUID" in dataset:
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = f"MEDMM_{medmm.__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
