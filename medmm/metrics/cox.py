"""Calibration by regression: slope, intercept, calibration in the large, and what follows from them.

Cox (1958) asks how the logit of the probability would have to be stretched and shifted to fit the labels. All
replicates are fitted at once by Newton's method, from the fit of the whole sample.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit

from medmm.metrics.column import Column, EachLabel
from medmm.metrics.family import Metric
from medmm.types import AnyArray, FloatArray

_STEPS = 100
_LARGEST_STEP = 10.0
_CLOSE, _CLOSE_ENOUGH = 3e-7, 1e-6  # the error left behind is about the square of the last step

_ORIGIN = np.zeros((2, 1))
"""From there Newton converges; from slope 1 it may not."""

_NO_FIT = "needs both classes, predictions that differ, and no perfect separation"
_ONE_CLASS = "needs both classes among the samples"
_NO_EXPECTED = "needs a sample with a probability above 0"
_NO_DOUBT = "needs a sample whose probability is none of 0, 0.5 and 1"


class _Design(NamedTuple):
    """What all replicates of a column share.

    Attributes:
        powers: (3, m) powers 0 to 2 of the logit, divided by its standard deviation.
        scale: That.
        start: (2, 1) coefficients of the whole sample, or the origin.
    """

    powers: FloatArray
    scale: float
    start: FloatArray


def slope_intercept(column: Column, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope, each (R,), of a logistic regression of the label on the logit of the probability.

    A calibrated model has 0 and 1. NaN where the fit does not exist: one class only, constant
    predictions, or a perfect separation.

    Args:
        column: Labels and probabilities.
        weights: (n, R).
    """
    design, w = column.cached("cox", lambda: _design(column)), weights[column.rows].astype(np.float64)
    exists = _classes_overlap(column, w)
    found, good = _newton(column.y, design.powers, w, design.start, exists)
    lost = exists & ~good
    if lost.any():
        found[:, lost], good[lost] = _newton(column.y, design.powers, w[:, lost], _ORIGIN, exists[lost])
    return np.where(good, found[0], np.nan), np.where(good, found[1] / design.scale, np.nan)


def in_the_large(column: Column, weights: FloatArray) -> FloatArray:
    """(R,) intercept with the slope held at 1: are probabilities too high or too low on the whole?

    NaN with one class only.
    """
    y, z, w = column.y, column.log_odds, weights[column.rows].astype(np.float64)
    positives, ones = y @ w, np.ones_like(y)
    exists = (positives > 0) & ((1 - y) @ w > 0)
    intercept = np.zeros(1)
    for _ in range(_STEPS):
        p = expit(np.add.outer(z, intercept))
        expected = w * p
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.clip((positives - ones @ expected) / (ones @ expected - ones @ (expected * p)), -4, 4)
        intercept = intercept + step
        if not (np.abs(step[exists]) > _CLOSE).any():
            break
    good = exists & np.isfinite(intercept) & (np.abs(step) < _CLOSE_ENOUGH)
    return np.where(good, intercept, np.nan)


def log_likelihood(column: Column, intercept: float, slope: float) -> float:
    """Of the labels, once the logits of the probabilities have been stretched and shifted so."""
    z = intercept + slope * column.log_odds
    return float((column.y * log_expit(z) + (1 - column.y) * log_expit(-z)).sum())


def observed_to_expected(column: Column, weights: FloatArray) -> FloatArray:
    """(R,) number of positives over the sum of probabilities; 1 when right on the whole."""
    positives, expected = (_sum(column, v, weights) for v in (column.y, column.p))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, positives / expected, np.nan)


def spiegelhalter_z(column: Column, weights: FloatArray) -> FloatArray:
    """(R,) Spiegelhalter's (1986) z of the Brier score: standard normal if the probabilities are exactly right.

    Above 0 they are too extreme, below 0 too timid. It takes samples as independent.
    """
    y, p = column.y, column.p
    off, variance = (_sum(column, v, weights) for v in ((y - p) * (1 - 2 * p), (1 - 2 * p) ** 2 * p * (1 - p)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 0, off / np.sqrt(variance), np.nan)


def cox_errors(column: Column, weights: FloatArray) -> FloatArray:
    """(3, R) slope, intercept, calibration in the large."""
    intercept, slope = slope_intercept(column, weights)
    return np.stack([slope, intercept, in_the_large(column, weights)])


def totals(column: Column, weights: FloatArray) -> FloatArray:
    """(2, R) observed to expected, and Spiegelhalter's z."""
    return np.stack([observed_to_expected(column, weights), spiegelhalter_z(column, weights)])


def _sum(column: Column, values: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) weighted sum of (m,) values."""
    everywhere = np.zeros(len(weights))
    everywhere[column.rows] = values
    return np.asarray(everywhere @ weights)


def _design(column: Column) -> _Design:
    z = column.log_odds
    scale = (float(z.std()) if len(z) else 0.0) or 1.0
    powers = np.stack([np.ones_like(z), z / scale, (z / scale) ** 2])
    once = np.ones((len(z), 1))
    whole, good = _newton(column.y, powers, once, _ORIGIN, _classes_overlap(column, once))
    return _Design(powers, scale, whole if good[0] else _ORIGIN)


def _newton(y: FloatArray, powers: FloatArray, w: FloatArray, start: FloatArray, exists: AnyArray) -> tuple[FloatArray, AnyArray]:
    """(2, R) coefficients of R logistic regressions on powers 0 and 1 of a number, and which of them converged."""
    beta, observed = start, (powers[:2] * y) @ w
    for _ in range(_STEPS):
        p = expit(np.multiply.outer(powers[1], beta[1]) + beta[0])  # of the common start, one column
        expected = w * p
        g0, g1 = observed - powers[:2] @ expected
        h00, h01, h11 = powers @ (expected - expected * p)
        determinant = np.where(exists, h00 * h11 - h01**2, 1.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = np.stack([(h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant])
            largest = np.abs(step).max(0)
            beta = beta + step * (_LARGEST_STEP / np.maximum(largest, _LARGEST_STEP))
        if not (largest[exists] > _CLOSE).any():
            break
    return beta, exists & np.isfinite(beta[1]) & (largest < _CLOSE_ENOUGH)


def _classes_overlap(column: Column, w: FloatArray) -> AnyArray:
    """(R,) whether some of either class lie above some of the other, without which no slope fits best."""
    drawn = [(w > 0) & (column.y == c)[:, None] for c in (0, 1)]
    if not len(w):
        return np.zeros(w.shape[1], dtype=bool)
    p, last = column.p, len(w) - 1
    low = [np.where(d.any(0), p[d.argmax(0)], np.inf) for d in drawn]
    high = [np.where(d.any(0), p[last - d[::-1].argmax(0)], -np.inf) for d in drawn]
    return np.asarray((high[0] > low[1]) & (high[1] > low[0]))


COX = EachLabel(
    (
        Metric("cal_slope", "target", _NO_FIT, -np.inf, np.inf),
        Metric("cal_intercept", "target", _NO_FIT, -np.inf, np.inf),
        Metric("cal_in_the_large", "target", _ONE_CLASS, -np.inf, np.inf),
    ),
    cox_errors,
)
TOTALS = EachLabel(
    (
        Metric("observed_to_expected", "target", _NO_EXPECTED, 0, np.inf),
        Metric("spiegelhalter_z", "target", _NO_DOUBT, -np.inf, np.inf, null=True),
    ),
    totals,
)
