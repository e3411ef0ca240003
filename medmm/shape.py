"""What a segmented region measures: volume, pieces, and the shape of the largest piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from medmm.types import AnyArray, FloatArray

_PIECE_ML = 0.1  # smaller pieces are specks of the segmentation
_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_CORNERS = np.array(list(np.ndindex(2, 2, 2))) - 0.5  # of a voxel about its centre


@dataclass(frozen=True, slots=True)
class Shape:
    """A region, its voxels taken as solid boxes. Zwanenburg et al. 2020 (IBSI) define diameter, elongation and flatness.

    Attributes:
        ml: Volume of all pieces.
        parts: Pieces of 0.1 ml or more; voxels that touch at a face, edge or corner are one piece.
        diameter_mm: Largest distance between two points of the largest piece; as all below, None of an empty region.
        solidity: Its volume over that of its convex hull: 1 of a box, less of a small ball, whose voxels stick out.
        sphericity: Of its convex hull: surface of the ball of its volume over its own surface, 1 of a ball.
        elongation, flatness: Second and third axis over the first, of the ellipsoid with its second moments.
    """

    ml: float
    parts: int
    diameter_mm: float | None = None
    solidity: float | None = None
    sphericity: float | None = None
    elongation: float | None = None
    flatness: float | None = None


def shape_of(region: AnyArray, affine: FloatArray) -> Shape:
    """Measure a region.

    Args:
        region: (I, J, K) bool.
        affine: (4, 4) from voxel index to millimetres; may be oblique.
    """
    axes = affine[:3, :3]
    voxel_ml = abs(float(np.linalg.det(axes))) / 1000
    pieces, count = label(region, _TOUCHING)
    if not count:
        return Shape(0.0, 0)
    sizes = np.bincount(pieces.ravel())[1:] * voxel_ml
    piece = pieces == int(sizes.argmax()) + 1
    hull = ConvexHull(_outermost(piece) @ axes.T)
    _, second, third = _axis_ratios(np.argwhere(piece) @ axes.T, axes)
    return Shape(
        ml=float(sizes.sum()),
        parts=int((sizes >= _PIECE_ML).sum()),
        diameter_mm=float(pdist(hull.points[hull.vertices]).max()),
        solidity=1000 * float(sizes.max()) / hull.volume,
        sphericity=float(np.cbrt(36 * np.pi * hull.volume**2)) / hull.area,
        elongation=second,
        flatness=third,
    )


def _outermost(piece: AnyArray) -> FloatArray:
    """(N, 3) voxel corners that span the convex hull: first and last voxel of every line along K."""
    i, j = np.nonzero(piece.any(axis=2))
    lines = piece[i, j]
    first, last = lines.argmax(1), piece.shape[2] - 1 - lines[:, ::-1].argmax(1)
    ends = np.concatenate([np.stack([i, j, k], axis=1) for k in (first, last)])
    return np.unique((ends[:, None] + _CORNERS).reshape(-1, 3), axis=0)


def _axis_ratios(centres: FloatArray, axes: FloatArray) -> tuple[float, float, float]:
    """Axes of the ellipsoid of equal second moments over its longest, descending; a voxel adds its own moments."""
    moments = np.cov(centres.T, bias=True) + axes @ axes.T / 12
    lengths = np.sqrt(np.linalg.eigvalsh(moments)[::-1])
    return 1.0, float(lengths[1] / lengths[0]), float(lengths[2] / lengths[0])
