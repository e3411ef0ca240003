"""Images whose pixels may show names or faces, told by their headers alone.

No pixel is looked at: text that a header does not hint at is not found.
"""

from __future__ import annotations

from typing import Any

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CLASSES = (
    _SECONDARY_CAPTURE,
    "1.2.840.10008.5.1.4.1.1.3", "1.2.840.10008.5.1.4.1.1.6",  # ultrasound
    "1.2.840.10008.5.1.4.1.1.77.1",  # photographs, endoscopy, microscopy
    "1.2.840.10008.5.1.4.1.1.104",  # documents
)  # fmt: skip
_MODALITIES = frozenset({"DOC", "ES", "GM", "IVUS", "OP", "SM", "US", "XC"})
_CAPTURED = ("SCREEN", "DOSE", "REPORT", "SUMMARY")  # as in DERIVED\SECONDARY\SCREEN SAVE, DOSE_INFO
_OVERLAY_BIT_POSITION = 0x0102
_HEAD = ("HEAD", "BRAIN", "SKULL", "FACE", "NECK", "SINUS", "ORBIT", "MAXILLA", "JAW")
_SLICES = frozenset({"CT", "MR", "PT"})


def burned_in(dataset: Any) -> str:
    """Why text may stand in the pixels; empty if nothing in the header speaks for it."""
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        return "BurnedInAnnotation is YES"
    sop_class = str(dataset.get("SOPClassUID", ""))
    if any(sop_class == known or sop_class.startswith(f"{known}.") for known in _CLASSES):
        return "secondary capture, ultrasound, photograph or document"
    modality = str(dataset.get("Modality", ""))
    if modality in _MODALITIES:
        return f"modality {modality}"
    if any(word in str(value).upper() for value in _values(dataset, "ImageType") for word in _CAPTURED):
        return "screen save, dose sheet or report"
    if modality in _SLICES and int(dataset.get("SamplesPerPixel", 1) or 1) > 1:
        return "colour picture among slices"
    overlays = [tag for tag in sorted(dataset.keys()) if tag.group & 0xFF00 == 0x6000]
    if any(tag.element == _OVERLAY_BIT_POSITION and int(dataset[tag].value or 0) for tag in overlays):
        return "overlay inside the pixel values"
    return ""


def shows_a_head(dataset: Any) -> bool:
    """Whether a face could be rendered from these slices."""
    if str(dataset.get("Modality", "")) not in _SLICES:
        return False
    words = " ".join(str(dataset.get(k, "")) for k in ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName"))
    return any(part in words.upper() for part in _HEAD)


def _values(dataset: Any, keyword: str) -> list[Any]:
    value = dataset.get(keyword) or []
    return [value] if isinstance(value, str) else list(value)
