"""Where voxels lie in the patient. The one place that states array layout and axes.

Layout: an image array is `(C, I, J, K)`: channel first, then three voxel axes. An affine is a
4 x 4 float64 matrix that takes a voxel index `(i, j, k, 1)` (voxel centres) to millimetres in
patient space, RAS+: x grows towards the patient's Right, y towards Anterior, z towards Superior.
DICOM speaks LPS+; `lps_to_ras` is the only bridge. Everything here is numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np

from medmm.errors import GeometryError
from medmm.types import AnyArray, FloatArray

Plane = Literal["axial", "coronal", "sagittal", "oblique"]

_CODES = (("L", "R"), ("P", "A"), ("I", "S"))
_PLANE_OF_NORMAL: dict[int, Plane] = {0: "sagittal", 1: "coronal", 2: "axial"}
_ALIGNED = 0.999  # cosine of about 2.6 degrees: closer than this an axis counts as along x, y or z


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in patient space: geometry without pixels.

    Attributes:
        shape: Voxels along I, J, K.
        affine: (4, 4) float64, voxel index to RAS+ millimetres.

    Raises:
        GeometryError: If the affine is not 4 x 4, not finite or singular.
    """

    shape: tuple[int, int, int]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            msg = "Expected a finite 4 x 4 affine; got one that is not. The image has no usable geometry."
            raise GeometryError(msg)
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            msg = "Expected three independent voxel axes; got a degenerate affine. The image has no usable geometry."
            raise GeometryError(msg)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along I, J, K in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def directions(self) -> FloatArray:
        """(3, 3) unit vectors of the voxel axes, one a column."""
        columns = self.affine[:3, :3]
        unit: FloatArray = columns / np.linalg.norm(columns, axis=0)
        return unit

    @property
    def patient_axes(self) -> tuple[int, int, int]:
        """For I, J, K the patient axis each runs along most: 0 is R, 1 is A, 2 is S; each once."""
        i, j, k = (axis for axis, _ in _nearest_axes(self.directions))
        return i, j, k

    @property
    def orientation(self) -> str:
        """Where each voxel axis points, nearest first letters, e.g. `RAS` or `LPS`."""
        return "".join(_CODES[axis][int(sign > 0)] for axis, sign in _nearest_axes(self.directions))

    @property
    def plane(self) -> Plane:
        """Plane of the I-J slices: where their normal points."""
        normal = np.cross(self.directions[:, 0], self.directions[:, 1])
        axis = int(np.argmax(np.abs(normal)))
        return _PLANE_OF_NORMAL[axis] if abs(normal[axis]) > _ALIGNED else "oblique"

    @property
    def extent(self) -> tuple[float, float, float]:
        """Physical size along I, J, K in mm, voxel edges included."""
        i, j, k = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return i, j, k

    @property
    def centre(self) -> FloatArray:
        """(3,) RAS+ position of the middle of the grid in mm."""
        middle = np.append((np.asarray(self.shape) - 1) / 2, 1.0)
        position: FloatArray = (self.affine @ middle)[:3]
        return position

    def centred(self, spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> Grid:
        """An axis-aligned RAS+ grid of this spacing (mm) and shape about the same centre."""
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = self.centre - (np.asarray(shape) - 1) / 2 * np.asarray(spacing)
        return Grid(shape, affine)

    def summary(self) -> dict[str, Any]:
        """What a person or a result file needs to know of the geometry, JSON ready."""
        return {
            "shape": list(self.shape),
            "spacing_mm": [round(s, 4) for s in self.spacing],
            "extent_mm": [round(e, 2) for e in self.extent],
            "orientation": self.orientation,
            "plane": self.plane,
        }


def lps_to_ras(affine: FloatArray) -> FloatArray:
    """Turn an affine into LPS+ (DICOM) millimetres into one into RAS+, or back."""
    flipped: FloatArray = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return flipped


def reorient(array: AnyArray, affine: FloatArray) -> tuple[AnyArray, FloatArray]:
    """Permute and flip voxel axes so that they point nearest to R, A, S. No resampling.

    Args:
        array: (C, I, J, K).
        affine: (4, 4) of that array.

    Returns:
        A view of the array and its affine; every voxel keeps its place in the patient.
    """
    grid = Grid((array.shape[1], array.shape[2], array.shape[3]), affine)
    nearest = _nearest_axes(grid.directions)
    order = [next(v for v, (axis, _) in enumerate(nearest) if axis == target) for target in range(3)]
    signs = [nearest[v][1] for v in order]
    permuted = np.transpose(array, (0, *(v + 1 for v in order)))
    flips = tuple(slice(None, None, -1) if sign < 0 else slice(None) for sign in signs)
    step = np.zeros((4, 4))
    step[3, 3] = 1.0
    for target, (voxel_axis, sign) in enumerate(zip(order, signs, strict=True)):
        step[voxel_axis, target] = sign
        step[voxel_axis, 3] = grid.shape[voxel_axis] - 1 if sign < 0 else 0.0
    return permuted[(slice(None), *flips)], grid.affine @ step


def _nearest_axes(directions: FloatArray) -> list[tuple[int, float]]:
    """For each voxel axis the patient axis (0 x, 1 y, 2 z) it is nearest to, each used once, and its sign.

    The product of cosines decides; some product is above zero whenever the axes are independent.
    """
    nearest = max(permutations(range(3)), key=lambda patient: np.abs(directions[patient, range(3)]).prod())
    return [(patient, float(np.sign(directions[patient, voxel]))) for voxel, patient in enumerate(nearest)]
