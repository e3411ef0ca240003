"""Where the slices of a series lie: their order, their distances, and whether they are one regular volume.

Order and distances come from ImagePositionPatient projected on the slice normal, never from
InstanceNumber, SliceLocation or SliceThickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medmm.errors import (
    DuplicatePositionError,
    GeometryError,
    IrregularSpacingError,
    MissingSlicesError,
)
from medmm.geometry import Grid, lps_to_ras
from medmm.settings import LIMITS
from medmm.sources.dicom.header import Slice
from medmm.types import FloatArray, IntArray

_OFF_GRID_MM, _OFF_GRID = 0.05, 0.05  # a slice may be this far (mm, share of the step) from its regular place
_SAME_PLACE_MM = 0.01
_TILT_DEGREES = 1.15
_ORTHONORMAL = 1e-2
_FARTHEST_MM = 1e5  # from the scanner's origin


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one orientation, matrix and pixel spacing in spatial order.

    Attributes:
        slices: K of them, ordered along their normal.
        across, down: (3,) unit vectors along a row and along a column, LPS.
        spacing: mm between rows, between columns.
        positions: (K, 3) LPS mm.
    """

    slices: tuple[Slice, ...]
    across: FloatArray
    down: FloatArray
    spacing: tuple[float, float]
    positions: FloatArray

    @cached_property
    def normal(self) -> FloatArray:
        """(3,) unit normal of the slices."""
        normal: FloatArray = np.cross(self.across, self.down)
        return normal / np.linalg.norm(normal)

    @cached_property
    def heights(self) -> FloatArray:
        """(K,) mm along the normal, the first slice at 0, ascending."""
        heights: FloatArray = (self.positions - self.positions[0]) @ self.normal
        return heights

    @cached_property
    def distances(self) -> FloatArray:
        """(K - 1,) mm along the normal between neighbours."""
        return np.diff(self.heights)

    @cached_property
    def step(self) -> float:
        """Usual distance of neighbours in mm; 1 for a single slice."""
        apart = self.distances[self.distances >= _SAME_PLACE_MM]
        return float(np.median(apart)) if apart.size else 1.0

    @property
    def tolerance(self) -> float:
        """How many mm a slice may lie off its regular place."""
        return max(_OFF_GRID_MM, _OFF_GRID * self.step)

    @cached_property
    def repeated(self) -> int:
        """Slices that lie where another does."""
        return int(sum(map(self.is_same_place, self.distances)))

    @staticmethod
    def is_same_place(distance: float) -> bool:
        """Whether slices this far apart (mm) lie in one place."""
        return distance < _SAME_PLACE_MM

    @cached_property
    def gaps(self) -> IntArray:
        """(K - 1,) slices missing between neighbours; all zero unless missing slices explain every uneven distance."""
        steps = np.rint(self.distances / self.step).astype(np.int64)
        explained = (np.abs(self.distances - steps * self.step) < 2 * self.tolerance).all()
        gaps: IntArray = np.maximum(steps - 1, 0) * int(explained)
        return gaps

    @cached_property
    def drift(self) -> FloatArray:
        """(3,) mm that slices move within their plane for each mm along the normal."""
        height = self.heights[-1]
        if height < _SAME_PLACE_MM:
            return np.zeros(3)
        drift: FloatArray = (self.positions[-1] - self.positions[0]) / height - self.normal
        return drift

    @property
    def tilt(self) -> float:
        """Degrees between slice normal and stacking direction."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.drift))))

    @property
    def is_tilted(self) -> bool:
        """Whether the stack is sheared noticeably."""
        return self.tilt > _TILT_DEGREES

    @cached_property
    def is_straight(self) -> bool:
        """Whether all slices lie on one line, evenly or not."""
        line = self.positions[0] + self.heights[:, None] * (self.normal + self.drift)
        return bool(np.linalg.norm(self.positions - line, axis=1).max() <= self.tolerance)

    @cached_property
    def is_even(self) -> bool:
        """Whether all slices lie where even spacing on one line puts them."""
        return are_even(self.positions, self.tolerance)

    @property
    def is_regular(self) -> bool:
        """Whether it is evenly spaced, with every slice at its own place."""
        return not self.repeated and self.is_even

    def grid(self) -> Grid:
        """Geometry of the volume, as the slices state it.

        Raises:
            GeometryError: If they are not one regular volume; a leaf says why.
        """
        self.refuse_repeated()
        self.refuse_missing()
        self.refuse_uneven()
        self.refuse_unbelievable()
        self.refuse_tilted()
        count = len(self.slices)
        step = self.normal if count == 1 else (self.positions[-1] - self.positions[0]) / (count - 1)
        return self.grid_of(self.positions[0], step, (self.slices[0].image.columns, self.slices[0].image.rows, count))

    def grid_of(self, first: FloatArray, step: FloatArray, shape: tuple[int, int, int]) -> Grid:
        """A grid in the plane of these slices: centre of the first pixel and vector from slice to slice, LPS mm."""
        lps = np.eye(4)
        lps[:3, 0], lps[:3, 1] = self.across * self.spacing[1], self.down * self.spacing[0]
        lps[:3, 2], lps[:3, 3] = step, first
        return Grid(shape, lps_to_ras(lps))

    def refuse_repeated(self) -> None:
        """Raise when slices lie in one place."""
        if self.repeated:
            msg = (
                f"Expected every slice at its own position; {self.repeated} of {len(self.slices)} repeat one. "
                "The series holds several phases or copies that nothing in the headers tells apart: separate them first."
            )
            raise DuplicatePositionError(msg)

    def refuse_missing(self) -> None:
        """Raise when whole slices are missing."""
        if missing := int(self.gaps.sum()):
            after = ", ".join(str(i + 1) for i in np.flatnonzero(self.gaps)[:5])
            msg = (
                f"Expected slices every {self.step:.3g} mm; {missing} missing after slice {after} of {len(self.slices)}. "
                'Export the complete series, or have single missing slices interpolated: repair "fill".'
            )
            raise MissingSlicesError(msg)

    def refuse_uneven(self) -> None:
        """Raise when slices are not evenly spaced on one line."""
        if not self.is_even:
            msg = (
                f"Expected evenly spaced slices; distances run from {self.distances.min():.3g} to {self.distances.max():.3g} mm. "
                + ('Reconstruct the series, or have it interpolated: repair "resample".' if self.is_straight
                   else "They do not lie on one line either. Reconstruct the series.")
            )  # fmt: skip
            raise IrregularSpacingError(msg)

    def refuse_unbelievable(self) -> None:
        """Raise when slices are nearer or farther than any scanner puts them."""
        low, high = LIMITS.spacing_mm
        if not low <= self.step <= high:
            msg = f"Expected slices {low} to {high} mm apart; got {self.step:.4g} mm. The positions are not believable."
            raise GeometryError(msg)

    def refuse_tilted(self) -> None:
        """Raise when slices are not stacked along their normal."""
        if self.is_tilted:
            msg = (
                f"Expected slices stacked along their normal; they are sheared by {self.tilt:.1f} degrees (gantry tilt). "
                'Deskew the series first, or have it done: repair "deskew".'
            )
            raise GeometryError(msg)


def are_even(positions: FloatArray, tolerance: float) -> bool:
    """Whether (K, 3) positions lie where even spacing on one line puts them."""
    places = positions[0] + np.linspace(0, 1, len(positions))[:, None] * (positions[-1] - positions[0])
    return bool(np.linalg.norm(positions - places, axis=1).max() <= tolerance)


def stack(slices: Sequence[Slice]) -> Stack:
    """Order slices along their normal.

    Raises:
        GeometryError: If they lack geometry, contradict themselves, or differ in pixel spacing.
        CorruptError: If a geometry element holds no numbers.
    """
    orientation, spacing = _common_geometry(slices)
    across, down = orientation[:3], orientation[3:]
    positions = np.asarray([s.position for s in slices], dtype=np.float64)
    order = np.argsort(positions @ np.cross(across, down), kind="stable")
    return Stack(tuple(slices[i] for i in order), across, down, spacing, positions[order])


def _common_geometry(slices: Sequence[Slice]) -> tuple[FloatArray, tuple[float, float]]:
    """The orientation (6,) and pixel spacing that all slices share."""
    flaw = next((s.flaw for s in slices if s.flaw), None)
    if flaw:
        raise flaw
    first = slices[0]
    if any(s.position is None or s.orientation is None or s.spacing is None for s in slices):
        msg = (
            "Expected ImagePositionPatient, ImageOrientationPatient and PixelSpacing in every slice; at least one lacks them. "
            'Export the original series again, or have its geometry assumed: repair "force".'
        )
        raise GeometryError(msg)
    assert first.orientation is not None  # checked above for all slices
    assert first.spacing is not None
    frame = np.asarray(first.orientation).reshape(2, 3)
    if np.abs(frame).max() > 1 + _ORTHONORMAL or np.abs(frame @ frame.T - np.eye(2)).max() > _ORTHONORMAL:
        msg = "Expected perpendicular unit vectors in ImageOrientationPatient; got others. The header is damaged."
        raise GeometryError(msg)
    if max(abs(x) for s in slices for x in s.position or ()) > _FARTHEST_MM:
        msg = f"Expected positions within {_FARTHEST_MM / 1000:g} m; got one beyond. The header is damaged."
        raise GeometryError(msg)
    low, high = LIMITS.spacing_mm
    spacings = np.asarray([s.spacing for s in slices])
    if (spacings < low).any() or (spacings > high).any():
        msg = f"Expected a PixelSpacing of {low} to {high} mm; got a value outside. The header is damaged."
        raise GeometryError(msg)
    frame /= np.linalg.norm(frame, axis=1, keepdims=True)
    return frame.ravel(), (first.spacing[0], first.spacing[1])
