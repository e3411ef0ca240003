"""Cleveland's (1979) lowess: a line through the nearest samples at each point, without robustness iterations."""

from __future__ import annotations

import numpy as np

from medmm.types import FloatArray

_SPAN = 2 / 3
_SKIP = 0.01
_NEARLY_ALL, _STEEP = 0.999, 0.001


def lowess(x: FloatArray, y: FloatArray, count: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distinct x that occur, rising, and the smoothed y at each.

    Span 2/3, values within 1 % of the range of x interpolated: the smoother of `rms::val.prob` in R. A sample of
    count 2 is one that stands there twice.

    Args:
        x: (m,) rising.
        y: (m,).
        count: (m,) whole numbers, at least one of them above 0.
    """
    drawn = count > 0
    x, y, count = x[drawn], y[drawn], count[drawn].astype(np.float64)
    first = np.flatnonzero(np.r_[True, x[1:] != x[:-1]])
    weight = np.add.reduceat(count, first)
    x, y = x[first], np.add.reduceat(count * y, first) / weight
    anchors = _anchors(x)
    return x, np.interp(x, x[anchors], _fits(x, y, weight, anchors))


def _anchors(x: FloatArray) -> list[int]:
    """Places that are fitted: each the last within reach of the one before, and both ends."""
    reach, places = _SKIP * (x[-1] - x[0]), [0]
    while places[-1] < len(x) - 1:
        last = places[-1]
        places.append(max(last + 1, int(np.searchsorted(x, x[last] + reach, side="right")) - 1))
    return places


def _fits(x: FloatArray, y: FloatArray, weight: FloatArray, anchors: list[int]) -> list[float]:
    samples = np.repeat(np.arange(len(x)), weight.astype(int))
    nearest = max(2, int(_SPAN * len(samples) + 1e-10))
    sums = x[samples[:-nearest]] + x[samples[nearest:]]  # a window of neighbours moves on while its middle is to the left
    found = []
    for anchor in anchors:
        start = int(np.searchsorted(sums, 2 * x[anchor]))
        window = slice(samples[start], samples[min(start + nearest, len(samples)) - 1] + 1)
        found.append(_line_at(x[anchor], x[window], y[window], weight[window], x[-1] - x[0]))
    return found


def _line_at(at: float, x: FloatArray, y: FloatArray, weight: FloatArray, extent: float) -> float:
    """Weighted least squares, weights falling by the tricube to 0 at the farthest."""
    distance = np.abs(x - at)
    radius = distance.max()
    relative = distance / radius if radius > 0 else distance
    tricube = 1 - relative * relative * relative
    w = weight * tricube * tricube * tricube * (relative <= _NEARLY_ALL)
    w /= w.sum()
    middle = w @ x
    off = x - middle
    spread = w @ (off * off)
    level = float(w @ y)
    if np.sqrt(spread) <= _STEEP * extent:
        return level
    return level + float((at - middle) * (w @ (off * y)) / spread)
