"""Calibration by regression: slope, intercept, calibration in the large, and what follows from them.

Cox (1958) asks how the logit of the probability would have to be stretched and shifted to fit the labels. All
replicates are fitted at once by Newton's method, from the fit of the whole sample.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from medmm.metrics.column import Column, EachLabel
from medmm.metrics.family import Metric
from medmm.types import AnyArray, FloatArray

_STEPS = 100
_LARGEST_STEP = 10.0
_CLOSE, _CLOSE_ENOUGH = 3e-7, 1e-6  # the error left behind is about the square of the last step

_NO_FIT = "needs both classes, predictions that differ, and no perfect separation"
_ONE_CLASS = "needs both classes among the samples"
_NO_EXPECTED = "needs a sample with a probability above 0"
_NO_DOUBT = "needs a sample whose probability is none of 0, 0.5 and 1"


def slope_intercept(column: Column, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope, each (R,), of a logistic regression of the label on the logit of the probability.

    A calibrated model has 0 and 1. NaN where the fit does not exist: one class only, constant
    predictions, or a perfect separation.

    Args:
        column: Labels and probabilities.
        weights: (n, R).
    """
    w, z = weights[column.rows].astype(np.float64), column.log_odds
    exists = _classes_overlap(column, w)
    scale = float(z.std()) if exists.any() else 1.0
    powers = np.stack([np.ones_like(z), z / scale, (z / scale) ** 2])
    origin = np.zeros((2, 1))  # from there Newton converges; from slope 1 it may not
    whole, fits = _newton(column.y, powers, np.ones((len(z), 1)), origin, np.array([True]))
    start = whole if fits[0] else origin
    found, good = _newton(column.y, powers, w, np.repeat(start, w.shape[1], axis=1), exists)
    lost = exists & ~good
    if lost.any():
        found[:, lost], good[lost] = _newton(column.y, powers, w[:, lost], np.repeat(origin, lost.sum(), axis=1), exists[lost])
    return np.where(good, found[0], np.nan), np.where(good, found[1] / scale, np.nan)


def in_the_large(column: Column, weights: FloatArray) -> FloatArray:
    """(R,) intercept with the slope held at 1: are probabilities too high or too low on the whole?

    NaN with one class only.
    """
    y, z, w = column.y, column.log_odds, weights[column.rows].astype(np.float64)
    positives, ones = y @ w, np.ones_like(y)
    exists = (positives > 0) & ((1 - y) @ w > 0)
    intercept, step = np.zeros(w.shape[1]), np.full(w.shape[1], np.inf)
    for _ in range(_STEPS):
        p = expit(np.add.outer(z, intercept))
        expected = w * p
        p *= expected
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.clip((positives - ones @ expected) / (ones @ expected - ones @ p), -4, 4)
        intercept = intercept + step
        if not (np.abs(step[exists]) > _CLOSE).any():
            break
    good = exists & np.isfinite(intercept) & (np.abs(step) < _CLOSE_ENOUGH)
    return np.where(good, intercept, np.nan)


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


def _newton(y: FloatArray, powers: FloatArray, w: FloatArray, start: FloatArray, exists: AnyArray) -> tuple[FloatArray, AnyArray]:
    """(2, R) coefficients of R logistic regressions on powers 0 and 1 of a number, and which of them converged."""
    beta, observed = start.copy(), (powers[:2] * y) @ w
    largest = np.full(w.shape[1], np.inf)
    for _ in range(_STEPS):
        p = np.multiply.outer(powers[1], beta[1])
        p += beta[0]
        expit(p, out=p)
        expected = w * p
        p *= expected
        g0, g1 = observed - powers[:2] @ expected
        h00, h01, h11 = powers @ (expected - p)
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
