"""One file with an identifier wherever DICOM lets one stand, and notes whose identifiers are marked."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medmm.deid.dataset import Deidentifier, to_bytes

_MARK = re.compile(r"\{\{(\w+)\|(.*?)\}\}")

_TEXT = [
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "EthnicGroup", "Occupation", "AdditionalPatientHistory", "PatientComments",
    "MilitaryRank", "BranchOfService", "MedicalAlerts", "Allergies", "CountryOfResidence", "RegionOfResidence",
    "PatientReligiousPreference", "ResponsiblePerson", "ResponsibleOrganization", "InsurancePlanIdentification",
    "MedicalRecordLocator", "IssuerOfPatientID", "AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "ReferringPhysicianName", "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers", "PerformingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "OperatorsName", "ConsultingPhysicianName", "RequestingPhysician", "RequestingService",
    "ScheduledPerformingPhysicianName", "StationName", "StudyDescription", "SeriesDescription", "ProtocolName",
    "ImageComments", "AdmittingDiagnosesDescription", "DerivationDescription", "RequestedProcedureDescription",
    "RequestedProcedureID", "RequestedProcedureComments", "PerformedProcedureStepDescription", "PerformedProcedureStepID",
    "DeviceSerialNumber", "PlateID", "DetectorID", "GantryID", "SoftwareVersions", "AdmissionID", "CurrentPatientLocation",
    "TextComments", "CommentsOnThePerformedProcedureStep", "ReasonForStudy",
]  # fmt: skip
_DATES = [
    "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate",
    "LastMenstrualDate",
]  # fmt: skip


class Planted(NamedTuple):
    """A file, and the identifiers in it."""

    content: bytes
    tokens: list[str]


class MarkedNote(NamedTuple):
    """A note and (start, end, kind) of what identifies someone in it."""

    text: str
    spans: list[tuple[int, int, str]]


@pytest.fixture
def slice_of() -> Callable[..., Dataset]:
    """Make a small valid CT slice that says nothing of anyone, with these attributes added."""
    return _slice


@pytest.fixture
def saved() -> Callable[[Dataset], bytes]:
    """The bytes of a data set's file."""
    return _saved


@pytest.fixture
def cleaned() -> Callable[..., Dataset]:
    """What comes out for a data set or the bytes of its file: read, de-identified, written and read again."""

    def clean(given: Dataset | bytes, deidentifier: Deidentifier | None = None) -> Dataset:
        dataset = pydicom.dcmread(io.BytesIO(given if isinstance(given, bytes) else _saved(given)))
        (deidentifier or Deidentifier())(dataset)
        return pydicom.dcmread(io.BytesIO(to_bytes(dataset)))

    return clean


@pytest.fixture
def marked_notes() -> Callable[[str], list[MarkedNote]]:
    """Notes of a file in this folder, one a line, identifiers written {{kind|text}}."""

    def read(name: str) -> list[MarkedNote]:
        file = Path(__file__).parent / f"notes_{name}.txt"
        return [_parse(line) for line in file.read_text(encoding="utf-8").splitlines()]

    return read


@pytest.fixture
def planted() -> Planted:
    """69 top-level attributes, nested and private sequences, overlays, curve, padding, file meta, preamble, UIDs."""
    tokens: list[str] = []

    def token() -> str:
        tokens.append(f"PHI{len(tokens):03d}QX")
        return tokens[-1]

    def day() -> str:
        tokens.append(f"{1931 + len(tokens) % 60}{1 + len(tokens) % 12:02d}{10 + len(tokens) % 18:02d}")
        return tokens[-1]

    def uid() -> str:
        tokens.append(f"1.2.826.0.1.3680043.9.7434.{1000 + len(tokens)}")
        return tokens[-1]

    dataset = _slice()
    for keyword in _TEXT:
        setattr(dataset, keyword, token())
    for keyword in _DATES:
        setattr(dataset, keyword, day())
    assert len(tokens) == 69
    _nest(dataset, token)
    _hide_in_private_block(dataset, token)
    for group, element, vr in ((0x6000, 0x3000, "OB"), (0x6000, 0x4000, "LT"), (0x6002, 0x0022, "LO"), (0x5000, 0x3000, "OB")):
        text = token()
        dataset.add(DataElement((group, element), vr, text.encode() + b"\0" if vr == "OB" else text))
    dataset.add(DataElement(0xFFFCFFFC, "OB", token().encode() + b"\0"))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, uid())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.SourceApplicationEntityTitle = token()
    dataset.file_meta.SendingApplicationEntityTitle = token()
    dataset.file_meta.PrivateInformationCreatorUID = uid()
    dataset.file_meta.PrivateInformation = token().encode() + b"\0"
    dataset.preamble = token().encode().ljust(128, b"\0")
    assert len(tokens) == 93
    return Planted(_saved(dataset), tokens)


def _nest(dataset: Dataset, token: Any) -> None:
    request, code, image = Dataset(), Dataset(), Dataset()
    request.ScheduledProcedureStepDescription, request.RequestedProcedureID = token(), token()
    dataset.RequestAttributesSequence = Sequence([request])
    image.ReferencedSOPClassUID, image.PatientName = CTImageStorage, token()
    image.PurposeOfReferenceCodeSequence = Sequence([_code(token())])
    dataset.ReferencedImageSequence = Sequence([image])
    code.PersonIdentificationCodeSequence = Sequence([_code(token())])
    dataset.OperatorIdentificationSequence = Sequence([code])
    dataset.ProcedureCodeSequence = Sequence([_code(token())])


def _code(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "A1", "99LOCAL", meaning
    return item


def _hide_in_private_block(dataset: Dataset, token: Any) -> None:
    block = dataset.private_block(0x0009, "SOMEBODY", create=True)
    inner = Dataset()
    inner.PatientName = token()
    block.add_new(0x01, "LO", token())
    block.add_new(0x02, "UN", token().encode() + b"\0")
    block.add_new(0x03, "SQ", Sequence([inner]))
    dataset.private_block(0x0029, token(), create=True).add_new(0x01, "OB", b"\0\1")


def _slice(**attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.9.7434.1"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer, dataset.ConvolutionKernel = "ACME", "STANDARD"
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelSpacing, dataset.ImagePositionPatient = [0.7, 0.7], [-10.5, 20, 30]
    dataset.PixelData = np.arange(64, dtype="<i2").tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _saved(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values that are wrong on purpose
        pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def _parse(line: str) -> MarkedNote:
    text, spans, last = "", [], 0
    for mark in _MARK.finditer(line):
        text += line[last : mark.start()]
        spans.append((len(text), len(text) + len(mark[2]), mark[1]))
        text, last = text + mark[2], mark.end()
    return MarkedNote(text + line[last:], spans)
