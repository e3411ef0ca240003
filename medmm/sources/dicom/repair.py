"""Repairs that a caller may ask for: each says exactly what it did, and none happens unasked.

`fill` interpolates single missing slices. `resample` interpolates unevenly spaced slices to even
ones. `deskew` shifts the slices of a tilted gantry into an upright stack. `force` assumes geometry
that the headers lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from medmm.errors import GeometryError, InputError, MissingSlicesError, TooLargeError
from medmm.geometry import Grid
from medmm.settings import LIMITS
from medmm.sources.dicom.header import Slice
from medmm.sources.dicom.kind import is_projection
from medmm.sources.dicom.stack import Stack, are_even, stack
from medmm.types import AnyArray, FloatArray, IntArray

Repair: TypeAlias = Literal["fill", "resample", "deskew", "force"]
REPAIRS: tuple[Repair, ...] = get_args(Repair)
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_FINEST = 4  # resampled slices lie at least a quarter of the usual distance apart


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How slices become a volume.

    Attributes:
        slices: K of them in spatial order.
        grid: Geometry of the volume.
        below, weight: (N,) each slice of the volume lies between slices `below` and `below + 1` of the
            stack, `weight` of the way up; None when the stack is the volume.
        shift: (K, 2) columns and rows, fractional and not negative, by which each slice is moved; None when none is.
        done: What was repaired, in words.
    """

    slices: tuple[Slice, ...]
    grid: Grid
    below: IntArray | None = None
    weight: FloatArray | None = None
    shift: FloatArray | None = None
    done: tuple[str, ...] = ()

    def apply(self, array: AnyArray, air: float) -> AnyArray:
        """Bring the stack (K, rows, columns) to the volume (N, rows', columns'), same type.

        Args:
            array: Values of `slices`.
            air: Value of voxels that no slice covers.
        """
        if self.shift is not None:
            array = _shifted(array, self.shift, (self.grid.shape[1], self.grid.shape[0]), air)
        if self.below is not None and self.weight is not None:
            array = _between(array, self.below, self.weight)
        return array


def as_repairs(words: Sequence[str]) -> tuple[Repair, ...]:
    """Words that name repairs.

    Raises:
        InputError: If one is not of `REPAIRS`.
    """
    if isinstance(words, str) or set(words) - set(REPAIRS):
        msg = f"Expected repairs among {', '.join(REPAIRS)}; got another word. Name them in a tuple."
        raise InputError(msg)
    return tuple(repair for repair in REPAIRS if repair in words)


def plan(slices: Sequence[Slice], repair: Sequence[Repair] = ()) -> Plan:
    """Order slices and prove that they are one regular volume, or find what makes them one.

    Args:
        slices: Of one matrix, orientation and pixel spacing.
        repair: What may be mended.

    Raises:
        GeometryError: If they are no regular volume and no allowed repair makes them one; a leaf says why.
    """
    slices, assumed = _with_geometry(slices, "force" in repair)
    found = stack(slices)
    found.refuse_repeated()
    below, weight, done = _places(found, repair)
    found.refuse_unbelievable()
    if found.is_tilted and "deskew" not in repair:
        found.refuse_tilted()
    done = [*assumed, *done]
    if below is None and not found.is_tilted:
        return Plan(found.slices, found.grid(), done=tuple(done))
    count = len(found.slices) if below is None else len(below)
    height = found.heights[-1] / (count - 1)
    image = found.slices[0].image
    first, shift, canvas = found.positions[0], None, (image.columns, image.rows)
    step = (found.normal + found.drift) * height
    if found.is_tilted:
        first, shift, canvas = _upright(found)
        step = found.normal * height
        done.append(f"slices moved within their plane to undo a gantry tilt of {found.tilt:.1f} degrees")
    grid = found.grid_of(first, step, (*canvas, count))
    if np.prod(grid.shape, dtype=np.int64) > LIMITS.voxels:
        msg = f"Expected at most {LIMITS.voxels:,} voxels; the repaired series would have more. Point to a smaller series."
        raise TooLargeError(msg)
    return Plan(found.slices, grid, below, weight, shift, tuple(done))


def _places(found: Stack, repair: Sequence[Repair]) -> tuple[IntArray | None, FloatArray | None, list[str]]:
    """Between which slices those of the volume lie, and what is repaired by that; None when the stack is even."""
    if found.gaps.any():
        if "fill" not in repair:
            found.refuse_missing()
        return _filled(found)
    if found.is_even:
        return None, None, []
    if "resample" not in repair or not found.is_straight:
        found.refuse_uneven()
    heights, distances = found.heights, found.distances
    steps = round(heights[-1] / max(distances.min(), found.step / _FINEST))
    wanted = np.linspace(0, heights[-1], steps + 1)
    below = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    weight = (wanted - heights[below]) / distances[below]
    told = (
        f"{len(heights)} slices {distances.min():.3g} to {distances.max():.3g} mm apart "
        f"interpolated to {steps + 1} slices {heights[-1] / steps:.3g} mm apart"
    )
    return below, weight, [told]


def _filled(found: Stack) -> tuple[IntArray, FloatArray, list[str]]:
    if found.gaps.max() > 1:
        msg = (
            f"Expected at most one slice missing in a row; {found.gaps.max()} are. "
            "That is too much to interpolate: export the complete series."
        )
        raise MissingSlicesError(msg)
    holes = np.flatnonzero(found.gaps)
    below = np.sort(np.concatenate([np.arange(len(found.slices)), holes]))
    weight = np.zeros(len(below))
    weight[1:][below[1:] == below[:-1]] = 0.5  # a hole is the second of two places above one slice
    middles = found.positions[below] * (1 - weight[:, None])
    above = np.minimum(below + 1, len(found.slices) - 1)
    if not are_even(middles + found.positions[above] * weight[:, None], found.tolerance):
        found.refuse_uneven()
    after = ", ".join(str(i + 1) for i in holes)
    return below, weight, [f"{len(holes)} missing slices interpolated from their neighbours, after slice {after}"]


def _upright(found: Stack) -> tuple[FloatArray, FloatArray, tuple[int, int]]:
    """First pixel of a stack of shifted slices (3,) LPS mm, their shifts (K, 2) in pixels, and its columns and rows."""
    moved = found.positions - found.positions[0] - found.heights[:, None] * found.normal
    pixels = np.stack([moved @ found.across / found.spacing[1], moved @ found.down / found.spacing[0]], axis=1)
    corner = np.floor(pixels.min(axis=0) + 1e-6)
    shift = np.maximum(pixels - corner, 0)
    extra = np.ceil(shift.max(axis=0) - 1e-6).astype(int)
    first = found.positions[0] + corner[0] * found.spacing[1] * found.across + corner[1] * found.spacing[0] * found.down
    image = found.slices[0].image
    return first, shift, (image.columns + int(extra[0]), image.rows + int(extra[1]))


def _shifted(array: AnyArray, shift: FloatArray, canvas: tuple[int, int], air: float) -> AnyArray:
    """Each plane moved by (columns, rows) on a larger canvas of (rows, columns), linear between pixels."""
    out = np.empty((len(array), *canvas), array.dtype)
    for plane, target, (columns, rows) in zip(array, out, shift, strict=True):
        moved = _moved(plane.astype(np.float32), rows, canvas[0], air)
        moved = _moved(moved.T, columns, canvas[1], air).T
        target[...] = np.rint(moved) if array.dtype.kind == "i" else moved
    return out


def _moved(rows: AnyArray, by: float, count: int, air: float) -> AnyArray:
    """Rows moved down by a fractional number onto `count` rows of air."""
    whole = int(by)
    part = np.float32(by - whole)
    out = np.full((count, rows.shape[1]), air, np.float32)
    if part < 1e-6:
        out[whole : whole + len(rows)] = rows
        return out
    edged = np.pad(rows, ((1, 1), (0, 0)), constant_values=air)
    blend = edged[1:] * (1 - part) + edged[:-1] * part
    out[whole : whole + len(blend)] = blend[: count - whole]
    return out


def _between(array: AnyArray, below: IntArray, weight: FloatArray) -> AnyArray:
    out = np.empty((len(below), *array.shape[1:]), array.dtype)
    for target, index, up in zip(out, below, weight, strict=True):
        if up == 0:
            target[...] = array[index]
            continue
        mixed = array[index] * np.float32(1 - up) + array[index + 1] * np.float32(up)
        target[...] = np.rint(mixed) if array.dtype.kind == "i" else mixed
    return out


def _with_geometry(slices: Sequence[Slice], force: bool) -> tuple[Sequence[Slice], list[str]]:
    """The slices themselves, or with geometry assumed where they lack it and that is allowed."""
    if any(one.flaw for one in slices):
        return slices, []
    lacks_place = any(one.position is None or one.orientation is None for one in slices)
    lacks_spacing = any(one.spacing is None for one in slices)
    picture = len(slices) == 1 and is_projection(slices[0].image.modality)
    if not (lacks_place or lacks_spacing) or not (force or picture):
        return slices, []
    told = []
    if lacks_spacing:
        spacing = slices[0].header.numbers("ImagerPixelSpacing", 2) or (1.0, 1.0)
        slices = [one._replace(spacing=spacing) for one in slices]
        told.append(f"pixels assumed {spacing[0]:.3g} x {spacing[1]:.3g} mm")
    if lacks_place:
        slices, step = _assumed_places(slices)
        told.append(f"slices assumed axial, in the order of InstanceNumber, {step:.3g} mm apart")
    return slices, [] if picture else told


def _assumed_places(slices: Sequence[Slice]) -> tuple[list[Slice], float]:
    numbers = [one.header.count("InstanceNumber", -1) for one in slices]
    if len(set(numbers)) < len(numbers):
        msg = "Expected positions, or at least InstanceNumber to order slices by; got neither. Export the original series again."
        raise GeometryError(msg)
    header = slices[0].header
    stated = header.numbers("SpacingBetweenSlices", 1) or header.numbers("SliceThickness", 1) or (1.0,)
    step = abs(stated[0]) or 1.0
    ordered = [one for _, one in sorted(zip(numbers, slices, strict=True), key=lambda pair: pair[0])]
    return [one._replace(position=(0.0, 0.0, k * step), orientation=_AXIAL) for k, one in enumerate(ordered)], step
