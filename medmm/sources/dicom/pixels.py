"""Stored pixels of a stack of slices to one array in physical values.

Pixels that stand in their file as they are go straight into the volume and are rescaled there, a
slice at a time while it is in the processor's cache, in a few threads. Compressed ones are decoded
by `decoding`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from medmm.errors import CorruptError, TooLargeError, TruncatedError
from medmm.settings import LIMITS
from medmm.sources.dicom.decoding import decode
from medmm.sources.dicom.header import Slice
from medmm.sources.dicom.units import (
    AIR_HU,
    Rescale,
    count_impossible,
    leaves_unit_open,
    padding_of,
    refuse_other_than_hounsfield,
    refuse_twice_rescaled,
    rescale_of,
)
from medmm.types import AnyArray

_INT16 = np.iinfo(np.int16)
_THREADS = 4


class Values(NamedTuple):
    """What was read.

    Attributes:
        array: (K, rows, columns), int16 where that is exact, else float32.
        padded: Voxels that were padding.
        high_bits: Voxels with something in the bits that BitsStored leaves out.
    """

    array: AnyArray
    padded: int
    high_bits: int


class _Plane(NamedTuple):
    fits: bool
    padded: int = 0
    high_bits: int = 0
    impossible: int = 0


def read_values(slices: Sequence[Slice]) -> Values:
    """Read the pixels of slices of one matrix.

    Args:
        slices: K slices in the order wanted.

    Raises:
        InputError: A leaf that says what is wrong with the pixels or their meaning.
    """
    image = slices[0].image
    size = len(slices) * image.rows * image.columns
    if size > LIMITS.voxels:
        msg = f"Expected at most {LIMITS.voxels:,} voxels; the series has {size:,}. Point to a smaller series."
        raise TooLargeError(msg)
    if not size:
        msg = "Expected slices with rows and columns; got none. The header is damaged."
        raise CorruptError(msg)
    rescales = [rescale_of(one) for one in slices]
    shape = (len(slices), image.rows, image.columns)
    planes = [_Plane(fits=False)]
    if all(rescale.is_whole for rescale in rescales):
        array: AnyArray = np.empty(shape, np.int16)
        planes = _fill(array, slices, rescales)
    if not all(plane.fits for plane in planes):
        array = np.empty(shape, np.float32)
        planes = _fill(array, slices, rescales)
    if image.modality == "CT":
        if any(map(leaves_unit_open, slices)):
            refuse_other_than_hounsfield(array)
        refuse_twice_rescaled(sum(plane.impossible for plane in planes), size)
    return Values(array, sum(plane.padded for plane in planes), sum(plane.high_bits for plane in planes))


def _fill(array: AnyArray, slices: Sequence[Slice], rescales: Sequence[Rescale]) -> list[_Plane]:
    planes = [_Plane(fits=False)] * len(slices)

    def read_plain(places: Iterable[int]) -> None:
        for k in places:
            planes[k] = _to_physical(slices[k], _read_plain(slices[k], array[k]), rescales[k], array[k])

    plain = [k for k, one in enumerate(slices) if _stands_plain(one)]
    threads = min(_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_plain, (plain[start::threads] for start in range(threads))))
    packed = sorted(set(range(len(slices))) - set(plain))
    for k, stored in zip(packed, decode([slices[k] for k in packed]), strict=True):
        planes[k] = _to_physical(slices[k], stored, rescales[k], array[k])
    return planes


def _stands_plain(one: Slice) -> bool:
    return one.image.header.pixels is not None and one.image.bits[0] == 16


def _read_plain(one: Slice, plane: AnyArray) -> AnyArray:
    """Pixels of 16 bits from their place in the file, in `plane` itself where that has 16 bits too."""
    image = one.image
    assert image.header.pixels is not None
    start, length = image.header.pixels
    target: AnyArray = plane if plane.itemsize == 2 else np.empty(plane.shape, np.int16)
    offset = start + one.frame * target.nbytes
    end = min(start + length, image.entry.size)
    if offset + target.nbytes > end:
        msg = f"Expected {target.nbytes:,} bytes of pixels in every slice; one has {max(end - offset, 0):,}. Copy the files again."
        raise TruncatedError(msg)
    with image.entry.open() as file:
        file.seek(offset)
        if file.readinto(target.data.cast("B")) != target.nbytes:  # type: ignore[attr-defined] # every opener's file has it
            msg = "Expected pixels as long as the file; it ends early. Copy the files again."
            raise TruncatedError(msg)
    return target.view("<i2" if image.signed else "<u2")


def _to_physical(one: Slice, stored: AnyArray, rescale: Rescale, plane: AnyArray) -> _Plane:
    """Rescale `stored` into `plane`, which may be the same memory."""
    lowest, highest, high_bits = _used_bits(one, stored)
    padding = _padding_mask(one, stored)
    fill: float = AIR_HU
    if padding is not None:
        sound = stored[~padding]
        lowest, highest = (int(sound.min()), int(sound.max())) if sound.size else (0, 0)
        fill = AIR_HU if one.image.modality == "CT" else rescale.apply(lowest)
    if plane.dtype == np.int16:
        if not _INT16.min <= rescale.apply(lowest) <= rescale.apply(highest) <= _INT16.max:
            return _Plane(fits=False)
        _rescale_whole(stored, rescale, plane)
    else:
        with np.errstate(over="ignore"):  # infinity is refused with the volume
            plane[...] = stored * np.float64(rescale.slope) + rescale.intercept
    if padding is not None:
        plane[padding] = fill
    impossible = count_impossible(plane, one.image.lossy) if one.image.modality == "CT" else 0
    return _Plane(True, 0 if padding is None else int(padding.sum()), high_bits, impossible)


def _rescale_whole(stored: AnyArray, rescale: Rescale, plane: AnyArray) -> None:
    """Exact whole numbers that fit int16: arithmetic modulo 2^16 then needs no wider type."""
    if stored.itemsize != 2:
        plane[...] = stored.astype(np.int64) * int(rescale.slope) + int(rescale.intercept)
        return
    words = stored.view(plane.dtype)
    slope, intercept = (np.array(int(number) & 0xFFFF, np.uint16).view(np.int16)[()] for number in rescale)
    if slope != 1:
        words = np.multiply(words, slope, out=plane)
    if intercept or words.ctypes.data != plane.ctypes.data:
        np.add(words, intercept, out=plane)


def _padding_mask(one: Slice, stored: AnyArray) -> AnyArray | None:
    """Where stored values are padding, None when nowhere."""
    padding = padding_of(one)
    if padding is None:
        return None
    low, high = padding
    mask: AnyArray = (stored >= low) & (stored <= high) if low < high else stored == low
    return mask if mask.any() else None


def _used_bits(one: Slice, stored: AnyArray) -> tuple[int, int, int]:
    """Clear, or fill with the sign, the bits above BitsStored.

    Returns:
        Lowest and highest number, and how many pixels had something else in those bits.

    Raises:
        CorruptError: If those bits belong to numbers longer than the header says.
    """
    lowest, highest = int(stored.min()), int(stored.max())
    width, used = 8 * stored.itemsize, one.image.bits[1]
    span = 1 << used if 0 < used < width else 1 << width
    least, most = (-(span >> 1), (span >> 1) - 1) if one.image.signed else (0, span - 1)
    if least <= lowest and highest <= most:
        return lowest, highest, 0
    clean = np.right_shift(np.left_shift(stored, width - used), width - used)
    other = clean != stored
    above = set(np.unique(stored[other] >> used).tolist())
    signs = one.image.signed and lowest < 0 and 0 in above  # some negative numbers fill the bits, others do not
    if -1 in above or (1 << width - used) - 1 in above or signs or one.header.whole("HighBit", used - 1) != used - 1:
        msg = "Expected pixels of BitsStored bits; the bits above hold part of the numbers. The header and the pixels disagree."
        raise CorruptError(msg)
    stored[...] = clean
    return int(clean.min()), int(clean.max()), 0 if "OverlayBitPosition" in one.header else int(other.sum())
