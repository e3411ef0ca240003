"""Variance of the area under the ROC curve without resampling: DeLong for independent samples, Obuchowski for patients.

Everything follows from placement values: for each positive the share of negatives below it, for each negative the
share of positives above it, ties counting half. All in double precision through midranks, O(n log n).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from medmm.metrics.intervals import Interval
from medmm.types import FloatArray, IntArray


class Areas(NamedTuple):
    """Areas of M scores on the same samples.

    Attributes:
        area: (M,); NaN without both classes.
        covariance: (M, M); NaN where it cannot be estimated, as from a single positive or negative (patient).
    """

    area: FloatArray
    covariance: FloatArray


class AreaTest(NamedTuple):
    """Difference of two areas, first minus second, with z and two-sided p; NaN where undefined."""

    difference: float
    variance: float
    z: float
    p_value: float


def delong(target: FloatArray, scores: FloatArray) -> Areas:
    """Areas and their covariance for independent samples (DeLong et al. 1988; midranks: Sun & Xu 2014).

    Args:
        target: (n,) 0 or 1.
        scores: (n,) or (n, M), higher for positives.
    """
    of_positives, of_negatives = _placements(target, scores)
    if not of_positives.size:
        return _undefined(of_positives.shape[1])
    return Areas(of_positives.mean(0), _mean_covariance(of_positives) + _mean_covariance(of_negatives))


def obuchowski(target: FloatArray, scores: FloatArray, cluster: IntArray) -> Areas:
    """Areas and their covariance where patients have several samples (Obuchowski 1997); with one each it is DeLong's.

    Args:
        target: (n,) 0 or 1.
        scores: (n,) or (n, M), higher for positives.
        cluster: (n,) patient of each sample.
    """
    of_positives, of_negatives = _placements(target, scores)
    if not of_positives.size:
        return _undefined(of_positives.shape[1])
    area, positive = of_positives.mean(0), target > 0
    patients, patient = np.unique(cluster, return_inverse=True)
    x = _sums(of_positives - area, patient[positive], len(patients)) / len(of_positives)
    y = _sums(of_negatives - area, patient[~positive], len(patients)) / len(of_negatives)
    with_positive, with_negative = len(np.unique(patient[positive])), len(np.unique(patient[~positive]))
    both = _unbiased(len(patients)) * (x.T @ y)
    covariance = _unbiased(with_positive) * (x.T @ x) + _unbiased(with_negative) * (y.T @ y) + both + both.T
    return Areas(area, covariance)


def area_interval(found: Areas, level: float = 0.95, which: int = 0) -> Interval | None:
    """Normal interval of one area, cut at 0 and 1; None where the variance is 0 or undefined and tells nothing."""
    area, variance = float(found.area[which]), float(found.covariance[which, which])
    if not variance > 0:
        return None
    reach = float(ndtri((1 + level) / 2)) * variance**0.5
    return max(0.0, area - reach), min(1.0, area + reach)


def paired_test(found: Areas) -> AreaTest:
    """First area minus second, of two scores on the same samples."""
    return _test(found.area[0] - found.area[1], np.array([1.0, -1.0]) @ found.covariance @ np.array([1.0, -1.0]))


def unpaired_test(first: Areas, second: Areas) -> AreaTest:
    """First area minus second, of scores on different patients."""
    return _test(first.area[0] - second.area[0], first.covariance[0, 0] + second.covariance[0, 0])


def _test(difference: float, variance: float) -> AreaTest:
    """Equal areas that never differ are equal; other differences without variance cannot be tested."""
    if variance > 0:
        z = difference / variance**0.5
        return AreaTest(float(difference), float(variance), float(z), float(2 * ndtr(-abs(z))))
    same = difference == 0 and variance == 0
    return AreaTest(float(difference), float(variance), 0.0 if same else np.nan, 1.0 if same else np.nan)


def _placements(target: FloatArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(positives, M) share of negatives below, and (negatives, M) share of positives above."""
    columns = scores.reshape(len(scores), -1)
    positive = target > 0
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return np.empty((0, columns.shape[1])), np.empty((0, columns.shape[1]))
    together = rankdata(columns, axis=0)
    below = (together[positive] - rankdata(columns[positive], axis=0)) / n
    above = 1 - (together[~positive] - rankdata(columns[~positive], axis=0)) / m
    return below, above


def _mean_covariance(values: FloatArray) -> FloatArray:
    """Covariance (M, M) of the mean of rows."""
    away = values - values.mean(0)
    return np.asarray(_unbiased(len(values)) * (away.T @ away) / len(values) ** 2)


def _unbiased(count: int) -> float:
    """What makes a mean square about a mean unbiased; NaN for one value, from which no variance can be told."""
    return count / (count - 1) if count > 1 else np.nan


def _sums(values: FloatArray, patient: IntArray, patients: int) -> FloatArray:
    return np.stack([np.bincount(patient, column, minlength=patients) for column in values.T], axis=1)


def _undefined(columns: int) -> Areas:
    return Areas(np.full(columns, np.nan), np.full((columns, columns), np.nan))
