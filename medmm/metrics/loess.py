"""Loess of Cleveland and Devlin (1988): a parabola through the nearest three quarters of the samples at each point."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from medmm.types import FloatArray

_SPAN = 0.75
_CELL = 0.2
_MARGIN = 0.005


def loess(x: FloatArray, y: FloatArray, *, interpolated: bool) -> FloatArray:
    """(m,) smoothed y at each x: degree 2, span 0.75, the defaults of R's `loess`.

    Args:
        x: (m,) rising.
        y: (m,).
        interpolated: As R by default, fit at the corners of cells of at most 15 % of the samples and blend cubically
            between them; else at every x, R's `surface = "direct"`.
    """
    if not interpolated:
        distinct, place = np.unique(x, return_inverse=True)
        return np.array([_parabola_at(at, x, y)[0] for at in distinct])[place]
    corners = _corners(x)
    values, slopes = np.transpose([_parabola_at(at, x, y) for at in corners])
    return np.asarray(CubicHermiteSpline(corners, values, slopes)(x))


def _parabola_at(at: float, x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Value and slope of weighted least squares, weights falling by the tricube to 0 at the farthest neighbour."""
    distance = np.abs(x - at)
    nearest = int(len(x) * _SPAN + 1e-5)
    relative = distance / np.partition(distance, nearest - 1)[nearest - 1]
    root = np.sqrt(np.clip(1 - relative**3, 0, None) ** 3)
    design = np.stack([np.ones_like(x), x - at, (x - at) ** 2], axis=1)
    value, slope, _ = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    return float(value), float(slope)


def _corners(x: FloatArray) -> FloatArray:
    """Ends of the range, a little beyond the samples, and cuts at the medians of cells that hold too many."""
    margin = _MARGIN * (x[-1] - x[0])
    return np.unique([x[0] - margin, *_cuts(x, int(len(x) * _SPAN * _CELL)), x[-1] + margin])


def _cuts(x: FloatArray, most: int) -> list[float]:
    """Medians of the cells; samples equal to one are all below it."""
    if len(x) <= most or x[0] == x[-1]:
        return []
    median = x[(len(x) - 1) // 2]
    beyond = int(np.searchsorted(x, median, side="right"))
    return [*_cuts(x[:beyond], most), float(median), *_cuts(x[beyond:], most)] if beyond < len(x) else []
