"""What a DICOM object is, in words, and whether it can be a slice of a volume."""

from __future__ import annotations

from medmm.sources.dicom.tags import Header

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_MODALITY_OF_CLASS = {
    "2": "CT", "2.1": "CT", "2.2": "CT", "4": "MR", "4.1": "MR", "4.4": "MR", "128": "PT", "130": "PT", "128.1": "PT",
    "1": "CR", "1.1": "DX", "1.2": "MG", "6.1": "US", "20": "NM",
}  # fmt: skip
_DOCUMENT_OF_CLASS = {
    "88.67": "dose report", "104.1": "encapsulated PDF", "11.1": "presentation state", "66.4": "segmentation",
    "66.5": "surface segmentation", "67": "real world value map", "88.59": "key object selection",
    "1.2.840.10008.1.3.10": "directory",
}  # fmt: skip
_DOCUMENT_OF_MODALITY = {
    "SR": "structured report", "SEG": "segmentation", "RTSTRUCT": "RT structure set", "RTPLAN": "RT plan", "RTDOSE": "RT dose",
    "RTRECORD": "RT treatment record", "REG": "registration", "PR": "presentation state", "KO": "key object selection",
    "RWV": "real world value map", "DOC": "document", "PLAN": "plan", "ECG": "waveform", "AU": "audio",
}  # fmt: skip
_SECONDARY_CAPTURE = _STORAGE + "7"
_DOSE, _SCREEN = ("DOSE", "DOSE_INFO", "EXAM_SUMMARY"), ("SCREEN SAVE", "SCREEN_SAVE", "SCREENSAVE", "CSA REPORT")
_PROJECTIONS = frozenset(("CR", "DX", "MG", "RF", "XA", "PX", "IO"))
_NAMES = {"PT": "PET", "CR": "radiograph", "DX": "radiograph", "MG": "mammogram", "US": "ultrasound"}
_SYNTAXES = {
    "1.2.840.10008.1.2": "implicit little endian", "1.2.840.10008.1.2.1": "explicit little endian",
    "1.2.840.10008.1.2.1.99": "deflated", "1.2.840.10008.1.2.2": "explicit big endian", "1.2.840.10008.1.2.5": "RLE",
    "1.2.840.10008.1.2.4.50": "JPEG baseline", "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.57": "JPEG lossless", "1.2.840.10008.1.2.4.70": "JPEG lossless, first order",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless", "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless", "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless", "1.2.840.10008.1.2.4.202": "HTJ2K lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}  # fmt: skip
_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81))


def modality_of(header: Header) -> str:
    """DICOM Modality; where it is absent, that of the SOP class; else OT."""
    storage = header.text("SOPClassUID").removeprefix(_STORAGE)
    return header.text("Modality") or _MODALITY_OF_CLASS.get(storage, "OT")


def aside(header: Header) -> tuple[str, str] | None:
    """(kind, reason) when this object is no slice of a volume, else None."""
    modality, image_type = modality_of(header), header.words("ImageType")
    storage = header.text("SOPClassUID")
    document = _DOCUMENT_OF_CLASS.get(storage.removeprefix(_STORAGE)) or _DOCUMENT_OF_MODALITY.get(modality)
    if document or "Rows" not in header or "Columns" not in header:
        return document or "no image", f"not an image ({modality})"
    if "LOCALIZER" in image_type or "SCOUT" in image_type:
        return "localizer", "localizer"
    if header.whole("SamplesPerPixel", 1) != 1 or header.text("PhotometricInterpretation") == "PALETTE COLOR":
        return _capture(image_type) or "colour picture", "colour picture, not a slice"
    capture = _capture(image_type)
    if capture or (storage.startswith(_SECONDARY_CAPTURE) and "ImagePositionPatient" not in header):
        return capture or "secondary capture", "secondary capture, not a slice"
    if "MOSAIC" in image_type:
        return "mosaic", "mosaic of slices in one picture"
    return None


def _capture(image_type: tuple[str, ...]) -> str:
    if any(word in _DOSE for word in image_type):
        return "dose report"
    return "screen capture" if any(word in _SCREEN for word in image_type) else ""


def is_projection(modality: str) -> bool:
    """Whether images of this device are pictures without a place in the patient."""
    return modality in _PROJECTIONS


def name_of(modality: str) -> str:
    """The device in the words people use."""
    return _NAMES.get(modality, modality)


def syntax_name(syntax: str) -> str:
    """A transfer syntax in words; its UID when it has no name here."""
    return _SYNTAXES.get(syntax, syntax)


def is_lossy(header: Header) -> bool:
    """Whether the pixels lost information when they were encoded, now or earlier."""
    return header.syntax in _LOSSY or header.text("LossyImageCompression") == "01"
