"""Cleveland's (1979) lowess: a line through the nearest samples at each point, without robustness iterations."""

from __future__ import annotations

import numpy as np

from medmm.types import FloatArray, IntArray

_SPAN = 2 / 3
_SKIP = 0.01
_NEARLY_ALL, _STEEP = 0.999, 0.001
_TINY = 1e-300
_BLOCK = 1 << 14  # numbers of one array at a time, which stay in the cache


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


def _anchors(x: FloatArray) -> IntArray:
    """Places that are fitted: each the last within reach of the one before, and both ends."""
    reach, places = _SKIP * (x[-1] - x[0]), [0]
    while places[-1] < len(x) - 1:
        last = places[-1]
        places.append(max(last + 1, int(np.searchsorted(x, x[last] + reach, side="right")) - 1))
    return np.array(places)


def _fits(x: FloatArray, y: FloatArray, weight: FloatArray, anchors: IntArray) -> FloatArray:
    samples = np.repeat(np.arange(len(x)), weight.astype(int))
    nearest = max(2, int(_SPAN * len(samples) + 1e-10))
    sums = x[samples[:-nearest]] + x[samples[nearest:]]  # a window of neighbours moves on while its middle is to the left
    start = np.searchsorted(sums, 2 * x[anchors])
    first, last = samples[start], samples[np.minimum(start + nearest, len(samples)) - 1]
    radius = np.maximum(x[anchors] - x[first], x[last] - x[anchors])
    found, size = np.empty(len(anchors)), max(1, _BLOCK // len(x))
    for low in range(0, len(anchors), size):
        block = slice(low, low + size)
        near = slice(first[low], last[block][-1] + 1)  # windows move on with their anchors
        found[block] = _lines_at(x[anchors[block]], radius[block], x[near], y[near], weight[near], x[-1] - x[0])
    return found


def _lines_at(at: FloatArray, radius: FloatArray, x: FloatArray, y: FloatArray, weight: FloatArray, extent: float) -> FloatArray:
    """(k,) weighted least squares at each of (k,) `at`, weights falling by the tricube to 0 at its radius.

    In place where it can be: of many samples, new arrays would cost several times what is computed.
    """
    relative = np.abs(x - at[:, None])
    relative /= np.maximum(radius, _TINY)[:, None]
    np.minimum(relative, 1, out=relative)
    tricube = relative * relative
    tricube *= relative
    np.subtract(1, tricube, out=tricube)
    w = weight * tricube
    w *= tricube
    w *= tricube
    w *= relative <= _NEARLY_ALL
    w /= w.sum(1, keepdims=True)
    middle, level = w @ x, w @ y
    off = x - middle[:, None]
    tilted = w * off
    spread = np.einsum("km,km->k", tilted, off)
    steep = np.sqrt(spread) > _STEEP * extent
    return np.asarray(np.where(steep, level + (at - middle) * (tilted @ y) / np.where(steep, spread, 1), level))
