"""What stored numbers mean: rescale of each slice, padding, and whether CT really comes out in Hounsfield units."""

from __future__ import annotations

import re
from math import isfinite
from typing import NamedTuple

import numpy as np

from medmm.errors import CorruptError, NonFiniteError, NotHounsfieldError
from medmm.sources.dicom.header import Slice
from medmm.types import AnyArray, Unit

AIR_HU = -1024
_TWICE_RESCALED_HU = -1500  # air is near -1000 in HU; a body of numbers below this was rescaled twice
_TWICE_SHARE = 0.005
_LOOKS_LIKE_HU = -200  # CT of a patient shows air, or at least fat, well below water
_HOUNSFIELD = re.compile(r"|HU|HOUND?SFIELD( UNITS?)?")  # PS3.3 C.11.1.1.2 allows any words; GE's reformats say Houndsfield Unit
_UNSPECIFIED = frozenset(("US", "UNSPECIFIED"))  # what older scanners write for Hounsfield units
_LOSSY_BLUR_HU = 100  # compression spreads a constant by this much
_PET_UNITS: frozenset[Unit] = frozenset(("BQML", "CNTS", "GML"))


class Rescale(NamedTuple):
    """value = stored * slope + intercept."""

    slope: float
    intercept: float

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers stay whole."""
        return self.slope.is_integer() and self.intercept.is_integer()

    def apply(self, stored: float) -> float:
        """One rescaled value."""
        return stored * self.slope + self.intercept


def unit_of(one: Slice) -> Unit:
    """Unit of the rescaled values."""
    if one.image.modality == "CT":
        return "HU"
    stated = one.header.text("Units")
    if one.image.modality == "PT":
        return next((unit for unit in _PET_UNITS if unit == stated), "intensity")
    return "intensity"


def window_of(one: Slice) -> tuple[float, float] | None:
    """Width and level, in the unit of the rescaled values, that the header suggests first; None without one that can be used."""
    words = [one.header.words(keyword)[:1] for keyword in ("WindowWidth", "WindowCenter")]
    try:
        width, level = (float(first) for (first,) in words)
    except ValueError:
        return None
    return (width, level) if isfinite(width) and isfinite(level) and width >= 1 else None


def rescale_of(one: Slice) -> Rescale:
    """Slope and intercept of a slice.

    Raises:
        NotHounsfieldError: For CT without rescale tags or in another unit, and for a slope that is not positive.
        NonFiniteError, CorruptError: If they are no finite numbers.
    """
    slope, intercept = (_number(one, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope is None or intercept is None:
        if one.image.modality == "CT":
            msg = "Expected RescaleSlope and RescaleIntercept in every CT slice; one lacks them. Its values may not be HU."
            raise NotHounsfieldError(msg)
        return Rescale(1.0, 0.0)
    if not np.isfinite([slope, intercept]).all():
        msg = "Expected finite RescaleSlope and RescaleIntercept; got NaN or infinity. The header is damaged."
        raise NonFiniteError(msg)
    if slope <= 0:
        msg = f"Expected a positive RescaleSlope; got {slope:g}. The header is damaged."
        raise NotHounsfieldError(msg)
    stated = _rescale_type(one)
    if one.image.modality == "CT" and stated not in _UNSPECIFIED and not _HOUNSFIELD.fullmatch(stated):
        msg = "Expected RescaleType HU, unspecified or none in every CT slice; got another. Its values are not Hounsfield units."
        raise NotHounsfieldError(msg)
    return Rescale(slope, intercept)


def _rescale_type(one: Slice) -> str:
    return " ".join(one.header.text("RescaleType").upper().split())


def _number(one: Slice, keyword: str) -> float | None:
    words = one.header.words(keyword)
    try:
        return float(words[0]) if words else None
    except ValueError:
        msg = f"Expected a number in {keyword}; got something else. The header of a slice is damaged."
        raise CorruptError(msg) from None


def padding_of(one: Slice) -> tuple[int, int] | None:
    """Lowest and highest stored value that stand for no measurement, None when there are none."""
    if not one.header.values.get("PixelPaddingValue"):
        return None
    first = _stored_number(one, "PixelPaddingValue")
    last = _stored_number(one, "PixelPaddingRangeLimit") if one.header.values.get("PixelPaddingRangeLimit") else first
    return min(first, last), max(first, last)


def _stored_number(one: Slice, keyword: str) -> int:
    """A number in the pixels' own representation, whatever representation its element claims."""
    value = one.header.whole(keyword)
    return value - (1 << 16) if one.image.signed and value >= 1 << 15 else value


def leaves_unit_open(one: Slice) -> bool:
    """Whether a CT slice says that its unit is unspecified."""
    return one.image.modality == "CT" and _rescale_type(one) in _UNSPECIFIED


def refuse_other_than_hounsfield(values: AnyArray) -> None:
    """Raise when values of unspecified unit do not look like Hounsfield units."""
    if values.min() > _LOOKS_LIKE_HU:
        msg = "Expected Hounsfield units; RescaleType is unspecified and no value lies where air does. Export with rescale tags."
        raise NotHounsfieldError(msg)


def count_impossible(values: AnyArray, lossy: bool) -> int:
    """How many Hounsfield units of a slice lie below what there is.

    Scanners fill the corners outside the field of view with one constant far below air; that
    constant, blurred where compression lost information, is not counted.
    """
    low = values < _TWICE_RESCALED_HU
    count = int(np.count_nonzero(low))
    if not count:
        return 0
    if lossy:
        deep = values[low].astype(np.float32)
        return int((np.abs(deep - np.median(deep)) > _LOSSY_BLUR_HU).sum())
    return count - int(np.count_nonzero(values == values.min()))


def refuse_twice_rescaled(impossible: int, voxels: int) -> None:
    """Raise when the body of the values lies below what HU can be."""
    if impossible > _TWICE_SHARE * voxels:
        msg = "Expected Hounsfield units; many values lie far below air. The rescale was probably applied twice."
        raise NotHounsfieldError(msg)
