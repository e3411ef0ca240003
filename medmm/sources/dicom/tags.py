"""The header elements that decide how an image is read, as the bytes that stand in its file.

Whoever finds them (`walk` or pydicom) hands over the same bytes; they are understood here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from medmm.errors import CorruptError

WANTED = {
    0x00080008: ("ImageType", "CS"), 0x00080016: ("SOPClassUID", "UI"), 0x00080018: ("SOPInstanceUID", "UI"),
    0x00080032: ("AcquisitionTime", "TM"), 0x00080060: ("Modality", "CS"), 0x00180010: ("ContrastBolusAgent", "LO"),
    0x00180060: ("KVP", "DS"), 0x00180050: ("SliceThickness", "DS"), 0x00180081: ("EchoTime", "DS"),
    0x00180086: ("EchoNumbers", "IS"), 0x00180088: ("SpacingBetweenSlices", "DS"), 0x00181060: ("TriggerTime", "DS"),
    0x00181164: ("ImagerPixelSpacing", "DS"), 0x00181210: ("ConvolutionKernel", "SH"), 0x0020000E: ("SeriesInstanceUID", "UI"),
    0x00200012: ("AcquisitionNumber", "IS"), 0x00200013: ("InstanceNumber", "IS"), 0x00200032: ("ImagePositionPatient", "DS"),
    0x00200037: ("ImageOrientationPatient", "DS"), 0x00200100: ("TemporalPositionIdentifier", "IS"),
    0x00280002: ("SamplesPerPixel", "US"), 0x00280004: ("PhotometricInterpretation", "CS"), 0x00280008: ("NumberOfFrames", "IS"),
    0x00280010: ("Rows", "US"), 0x00280011: ("Columns", "US"), 0x00280030: ("PixelSpacing", "DS"),
    0x00280100: ("BitsAllocated", "US"), 0x00280101: ("BitsStored", "US"), 0x00280102: ("HighBit", "US"),
    0x00280103: ("PixelRepresentation", "US"), 0x00280120: ("PixelPaddingValue", "US or SS"),
    0x00280121: ("PixelPaddingRangeLimit", "US or SS"), 0x00281050: ("WindowCenter", "DS"), 0x00281051: ("WindowWidth", "DS"),
    0x00281052: ("RescaleIntercept", "DS"), 0x00281053: ("RescaleSlope", "DS"), 0x00281054: ("RescaleType", "LO"),
    0x00282110: ("LossyImageCompression", "CS"), 0x00541001: ("Units", "CS"),
    0x52009229: ("SharedFunctionalGroupsSequence", "SQ"), 0x52009230: ("PerFrameFunctionalGroupsSequence", "SQ"),
    0x60000102: ("OverlayBitPosition", "US"),
}  # fmt: skip
"""Tag to (keyword, value representation)."""

_PADDING = " \0"


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The wanted elements of one file.

    Attributes:
        values: Keyword to value bytes; sequences are present with no bytes.
        syntax: TransferSyntaxUID.
        pixels: (offset in the file, bytes) of pixels that stand there as they are, None otherwise.
        big_endian: Byte order of binary values.
    """

    values: Mapping[str, bytes]
    syntax: str
    pixels: tuple[int, int] | None = None
    big_endian: bool = False

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.values

    def words(self, keyword: str) -> tuple[str, ...]:
        """Values of a text element, upper case, blanks and padding removed; empty when absent."""
        text = self.text(keyword)
        return tuple([word.strip(_PADDING) for word in text.split("\\")]) if text else ()

    def text(self, keyword: str) -> str:
        """All values of a text element in one string, upper case."""
        value = self.values.get(keyword)
        return value.decode("latin-1").strip(_PADDING).upper() if value else ""

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Finite decimal numbers, None when absent or empty.

        Raises:
            CorruptError: If present but not `count` finite numbers.
        """
        words = self.words(keyword)
        if not words:
            return None
        try:
            values = tuple(map(float, words))
        except ValueError:
            values = ()
        if len(values) != count or not all(map(isfinite, values)):
            msg = f"Expected {count} finite numbers in {keyword}; got something else. The header of a slice is damaged."
            raise CorruptError(msg)
        return values

    def whole(self, keyword: str, default: int = 0) -> int:
        """A binary 16-bit number, unsigned.

        Raises:
            CorruptError: If present but of another length.
        """
        value = self.values.get(keyword)
        if not value:
            return default
        if len(value) < 2:
            msg = f"Expected a 16-bit number in {keyword}; got something else. The header of a slice is damaged."
            raise CorruptError(msg)
        return int.from_bytes(value[:2], "big" if self.big_endian else "little")

    def count(self, keyword: str, default: int) -> int:
        """A whole number written as text; `default` when absent, -1 when it is none."""
        words = self.words(keyword)
        if not words:
            return default
        try:
            return int(float(words[0]))
        except (ValueError, OverflowError):
            return -1
