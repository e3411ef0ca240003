"""One DICOM file to the slices it holds: where each lies, what its numbers mean, where its pixels stand."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from medmm.errors import InputError
from medmm.hush import hushed
from medmm.sources.archive import Entry
from medmm.sources.dicom.kind import aside, is_lossy, modality_of
from medmm.sources.dicom.tags import WANTED, Header
from medmm.sources.dicom.walk import BIG_ENDIAN, DEFLATED, EXPLICIT_LE, IMPLICIT_LE, walk
from medmm.sources.inflate import open_dicom

_HEAD_BYTES = 1 << 14
_PIXELS_LE = b"\xe0\x7f\x10\x00"
_LONG_FORM = (b"OB", b"OW")
_GROUPS = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {k: k for k in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")},
    "PixelValueTransformationSequence": {k: k for k in ("RescaleSlope", "RescaleIntercept", "RescaleType")},
    "FrameVOILUTSequence": {k: k for k in ("WindowCenter", "WindowWidth")},
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "MRImageFrameTypeSequence": {"FrameType": "ImageType"},
    "PETFrameTypeSequence": {"FrameType": "ImageType"},
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "FrameContentSequence": {
        "TemporalPositionIndex": "TemporalPositionIdentifier", "FrameAcquisitionNumber": "AcquisitionNumber",
        "InStackPositionNumber": "InstanceNumber",
    },
}  # fmt: skip
"""Functional group to the elements in it and the names they have in a single-frame object."""


class Aside(NamedTuple):
    """A file that holds no slice of a volume."""

    series_uid: str
    kind: str
    reason: str


class Image(NamedTuple):
    """What all frames of one file share.

    Attributes:
        entry: The file, inflated when it was deflated.
        header: Its elements.
        series_uid, sop_uid: SeriesInstanceUID and SOPInstanceUID.
        modality: DICOM Modality.
        rows, columns: Height and width of a slice.
        bits: BitsAllocated, BitsStored.
        signed: PixelRepresentation.
        lossy: Whether information was lost by compression.
    """

    entry: Entry
    header: Header
    series_uid: str
    sop_uid: str
    modality: str
    rows: int
    columns: int
    bits: tuple[int, int]
    signed: bool
    lossy: bool


class Slice(NamedTuple):
    """One plane of pixels.

    Attributes:
        image: The file it stands in.
        frame: Its index there.
        header: What holds for this plane; of a multi-frame file with its functional groups.
        position: (3,) LPS mm of the centre of the first pixel.
        orientation: (6,) direction cosines of rows then columns, LPS.
        spacing: (2,) mm between rows, between columns.
        flaw: What is wrong with its geometry, should it be read.
    """

    image: Image
    frame: int
    header: Header
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    flaw: InputError | None

    @property
    def derived(self) -> bool:
        """Whether it was computed from other images."""
        return self.header.words("ImageType")[:1] == ("DERIVED",)


def read_slices(entry: Entry) -> list[Slice] | Aside:
    """The slices of one file, from its header alone.

    Args:
        entry: A file recognised as DICOM.
    """
    try:
        header, dataset, entry = _read_header(entry)
        apart = aside(header)
        if apart:
            return Aside(header.text("SeriesInstanceUID"), *apart)
        image = _image(entry, header)
        if header.count("NumberOfFrames", 1) == 1 and "PerFrameFunctionalGroupsSequence" not in header:
            return [_slice(image, 0, header)]
        if dataset is None or "PerFrameFunctionalGroupsSequence" not in header:
            return Aside(image.series_uid, "multi-frame object", "multi-frame object")
        return _frames(image, dataset)
    except (InputError, MemoryError):
        raise
    except (Exception, RecursionError):  # foreign bytes: whatever the parser throws means the same thing to the caller
        return Aside("", "unreadable", "unreadable DICOM file")


def parse(entry: Entry) -> tuple[Header, Any, Entry]:
    """Read any header with pydicom.

    Returns:
        The header; the data set, whose sequences hold what multi-frame objects say of each frame; and
        the file, inflated when it was deflated.
    """
    import pydicom

    with open_dicom(entry) as file, hushed():
        dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(WANTED), force=True)
        implicit, little = dataset.original_encoding
        stated = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
        syntax = stated or (IMPLICIT_LE if implicit else EXPLICIT_LE if little else BIG_ENDIAN)
        values = {WANTED[tag][0]: _bytes_of(dataset.get_item(tag)) for tag in dataset.keys() if tag in WANTED}  # noqa: SIM118
        pixels = _locate(file, implicit) if little and syntax in {IMPLICIT_LE, EXPLICIT_LE} else None
        size = file.seek(0, os.SEEK_END)
    if size != entry.size:
        syntax, entry = DEFLATED, Entry(entry.name, size, partial(open_dicom, entry))
    return Header(values, syntax, pixels, not little), dataset, entry


def _read_header(entry: Entry) -> tuple[Header, Any, Entry]:
    header = walk(entry.head(_HEAD_BYTES), entry.size)
    return (header, None, entry) if header else parse(entry)


def _bytes_of(element: Any) -> bytes:
    value = element.value
    return value if isinstance(value, bytes) else b""


def _locate(file: BinaryIO, implicit: bool) -> tuple[int, int] | None:
    """Offset and length of the pixels before which pydicom stopped."""
    start = file.tell()
    head = file.read(12)
    if head[:4] != _PIXELS_LE:
        return None
    if implicit:
        return start + 8, int.from_bytes(head[4:8], "little")
    return (start + 12, int.from_bytes(head[8:12], "little")) if head[4:6] in _LONG_FORM else None


def _image(entry: Entry, header: Header) -> Image:
    allocated = header.whole("BitsAllocated", 16)
    return Image(
        entry, header, header.text("SeriesInstanceUID"), header.text("SOPInstanceUID"), modality_of(header), header.whole("Rows"),
        header.whole("Columns"), (allocated, header.whole("BitsStored", allocated)), header.whole("PixelRepresentation") == 1,
        is_lossy(header),
    )  # fmt: skip


def _slice(image: Image, frame: int, header: Header) -> Slice:
    flaw, position, orientation, spacing = None, None, None, None
    try:
        position = header.numbers("ImagePositionPatient", 3)
        orientation = header.numbers("ImageOrientationPatient", 6)
        spacing = header.numbers("PixelSpacing", 2)
    except InputError as error:
        flaw = error
    return Slice(image, frame, header, position, orientation, spacing, flaw)


def _frames(image: Image, dataset: Any) -> list[Slice] | Aside:
    """Slices of an object with functional groups, PS3.3 C.7.6.16: shared values, then those of each frame."""
    shared = dict(image.header.values)
    for item in dataset.get("SharedFunctionalGroupsSequence") or ():
        shared |= _group_values(item)
    frames = dataset.PerFrameFunctionalGroupsSequence
    if len(frames) != image.header.count("NumberOfFrames", 1):
        return Aside(image.series_uid, "unreadable", "multi-frame object whose frames are not all described")
    headers = [replace(image.header, values=shared | _group_values(item)) for item in frames]
    if any("LOCALIZER" in header.words("ImageType") for header in headers):
        return Aside(image.series_uid, "localizer", "localizer")
    return [_slice(image, frame, header) for frame, header in enumerate(headers)]


def _group_values(groups: Any) -> dict[str, bytes]:
    values = {}
    for sequence, keywords in _GROUPS.items():
        for item in groups.get(sequence) or ():
            for keyword, name in keywords.items():
                if keyword in item:
                    value = item[keyword].value
                    words = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
                    values[name] = "\\".join(map(str, words)).encode("latin-1", "replace")
    return values
