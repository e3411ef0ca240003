"""How far a curve of observed frequency lies from the diagonal, by the name of the smoother that drew it.

The number depends on the smoother as an ECE does on its bins, so literature can only be compared under the same one
(Austin and Steyerberg 2019). The one in the catalogue of metrics is `lowess[2/3,0]`; the others are here for comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import expit

from medmm.metrics.column import Column, column
from medmm.metrics.loess import loess
from medmm.metrics.lowess import lowess
from medmm.metrics.scores import Scores
from medmm.types import FloatArray

_STEPS = 50
_CLOSE = 1e-10
_FEWEST = 10


class CurveErrors(NamedTuple):
    """Distance of the curve, held within 0 to 1, from the diagonal over the samples.

    NaN where there is none: fewer than 10 distinct probabilities, or a regression that does not converge.

    Attributes:
        ici: Mean, the integrated calibration index.
        e50: Median.
        e90: 90 % quantile.
        emax: Largest.
    """

    ici: float
    e50: float
    e90: float
    emax: float


_UNDEFINED = CurveErrors(np.nan, np.nan, np.nan, np.nan)


def ici(scores: Scores, index: int, smoother: str = "loess[2,0.75]") -> CurveErrors:
    """Integrated calibration index and its kin (Austin and Steyerberg 2019) under a named smoother.

    `lowess[2/3,0]` is that of `rms::val.prob`; `loess[2,0.75]` and `loess[2,0.75,interpolated]` are R's `loess` fitted at
    every sample and, its default, blended between the corners of cells; `rcs[3]` is a logistic regression on a restricted
    cubic spline of the logit with knots at its quantiles 0.1, 0.5 and 0.9 (Harrell 2015); `isotonic` is a rising step.

    Args:
        scores: What to measure.
        index: Label.
        smoother: Which of them.

    Raises:
        KeyError: If there is no such smoother.
    """
    if smoother not in SMOOTHERS:
        msg = f"Expected a smoother, one of {', '.join(SMOOTHERS)}; got {smoother!r}."
        raise KeyError(msg)
    label = column(scores, index)
    if len(label.starts) < _FEWEST:
        return _UNDEFINED
    off = np.abs(np.clip(SMOOTHERS[smoother](label), 0, 1) - label.p)
    return CurveErrors(float(off.mean()), float(np.median(off)), float(np.quantile(off, 0.9)), float(off.max()))


def _lowess(label: Column) -> FloatArray:
    x, curve = lowess(label.p, label.y, np.ones(len(label.p)))
    return curve[np.searchsorted(x, label.p)]


def _isotonic(label: Column) -> FloatArray:
    count = np.diff(np.append(label.starts, len(label.p)))
    fitted = isotonic_regression(np.add.reduceat(label.y, label.starts) / count, weights=count).x
    return np.repeat(fitted, count)


def _rcs(label: Column) -> FloatArray:
    z = label.log_odds
    return _logistic(np.stack([np.ones_like(z), z, _spline(z, np.quantile(z, [0.1, 0.5, 0.9]))], axis=1), label.y)


def _spline(z: FloatArray, knots: FloatArray) -> FloatArray:
    """The term of three knots beside the line: cubic between them, straight beyond (Stone and Koo 1985)."""
    first, middle, last = (np.maximum(z - k, 0) ** 3 for k in knots)
    low, mid, high = knots
    return np.asarray((first - middle * (high - low) / (high - mid) + last * (mid - low) / (high - mid)) / (high - low) ** 2)


def _logistic(design: FloatArray, y: FloatArray) -> FloatArray:
    """(m,) probabilities fitted by Newton's method; NaN where it does not converge, as under a perfect separation."""
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = expit(design @ beta)
        information = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.lstsq(information, design.T @ (y - p), rcond=None)[0]
        beta = beta + step
        if np.abs(step).max() < _CLOSE:
            return np.asarray(expit(design @ beta))
    return np.full(len(y), np.nan)


SMOOTHERS: dict[str, Callable[[Column], FloatArray]] = {
    "lowess[2/3,0]": _lowess,
    "loess[2,0.75]": lambda label: loess(label.p, label.y, interpolated=False),
    "loess[2,0.75,interpolated]": lambda label: loess(label.p, label.y, interpolated=True),
    "rcs[3]": _rcs,
    "isotonic": _isotonic,
}
"""(m,) observed frequency at each of a column's samples."""
