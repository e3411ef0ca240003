"""Uncertainty by resampling patients: what is independent is the patient, not the scan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri

from medmm.types import FloatArray, IntArray

Interval = tuple[float, float]

_BLOCK = 64
_JACKKNIFE_GROUPS = 200


def patient_weights(cluster: IntArray, replicates: int, seed: int, strata: IntArray | None = None) -> Iterator[IntArray]:
    """Bootstrap weights in blocks of columns.

    Each replicate draws as many patients as there are, with replacement; a sample weighs as often
    as its patient was drawn. The same seed and patients give the same weights, whatever the metric
    or model, which is what makes differences paired.

    Args:
        cluster: (n,) patient index of each sample, 0 to P - 1.
        replicates: Columns in all.
        seed: Seed.
        strata: (n,) codes; within each, as many patients are drawn as it has. The same for all samples of a patient.

    Yields:
        (n, up to 64) int32.

    Raises:
        ValueError: If a patient stands in two strata.
    """
    members = _members(cluster, strata)
    patients = sum(map(len, members))
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, _BLOCK):
        count = min(_BLOCK, replicates - start)
        drawn = np.concatenate([m[rng.integers(0, len(m), size=(count, len(m)))] for m in members], axis=1)
        places = (drawn + np.arange(count)[:, None] * patients).ravel()
        by_patient = np.bincount(places, minlength=count * patients).reshape(count, patients)
        yield np.ascontiguousarray(by_patient.T, dtype=np.int32)[cluster]


def jackknife_weights(cluster: IntArray, groups: int = _JACKKNIFE_GROUPS) -> IntArray:
    """(n, G) int32: column g leaves out the g-th of G groups of patients, each patient its own group where there are few.

    Args:
        cluster: (n,) patient index of each sample, 0 to P - 1.
        groups: At most this many.
    """
    patients = int(cluster.max(initial=-1)) + 1
    group = cluster % max(1, min(groups, patients))
    return np.not_equal.outer(group, np.arange(min(groups, patients))).astype(np.int32)


def percentile_interval(replicates: FloatArray, level: float = 0.95) -> Interval | None:
    """Percentile interval of the defined replicates, None when there are fewer than half."""
    defined = _defined(replicates)
    return None if defined is None else _quantiles(defined, (1 - level) / 2, (1 + level) / 2)


def basic_interval(value: float, replicates: FloatArray, level: float = 0.95) -> Interval | None:
    """The percentile interval turned about the value (reverse percentile); None as there. May leave a metric's bounds."""
    turned = percentile_interval(replicates, level)
    return None if turned is None or np.isnan(value) else (2 * value - turned[1], 2 * value - turned[0])


def bca_interval(value: float, replicates: FloatArray, jackknife: FloatArray, level: float = 0.95) -> Interval | None:
    """Percentile interval corrected for bias and acceleration (Efron 1987).

    None as for `percentile_interval`, and where all replicates lie on one side of the value, as those of a biased
    estimator may: then the correction does not exist.

    Args:
        value: Of the sample.
        replicates: (R,) of the bootstrap, NaN where undefined.
        jackknife: (G,) values under `jackknife_weights`, NaN where undefined.
        level: Of the interval.
    """
    defined = _defined(replicates)
    if defined is None or np.isnan(value):
        return None
    if (defined == value).all():
        return value, value
    below = ((defined < value).mean() + (defined <= value).mean()) / 2
    if not 0 < below < 1:
        return None
    bias, acceleration = ndtri(below), _acceleration(jackknife[~np.isnan(jackknife)])
    z = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    shrink = 1 - acceleration * z
    if (shrink <= 0).any():  # beyond its pole the correction would turn back
        return None
    low, high = ndtr(bias + z / shrink)
    return _quantiles(defined, low, high)


def _members(cluster: IntArray, strata: IntArray | None) -> list[IntArray]:
    """Patients of each stratum."""
    patients = int(cluster.max(initial=-1)) + 1
    if strata is None:
        return [np.arange(patients)]
    of_patient = np.full(patients, -1, dtype=np.int64)
    codes = np.unique(strata, return_inverse=True)[1]
    of_patient[cluster] = codes
    if (of_patient[cluster] != codes).any():
        msg = "Expected every patient within one stratum; some stand in two. State strata by patient."
        raise ValueError(msg)
    return [np.flatnonzero(of_patient == code) for code in range(codes.max(initial=-1) + 1)]


def _defined(replicates: FloatArray) -> FloatArray | None:
    defined = replicates[~np.isnan(replicates)]
    return None if len(defined) * 2 < len(replicates) or not len(defined) else defined


def _quantiles(values: FloatArray, low: float, high: float) -> Interval:
    found = np.quantile(values, [low, high])
    return float(found[0]), float(found[1])


def _acceleration(values: FloatArray) -> float:
    """A sixth of the skewness of the jackknife's influence values; 0 where they are all alike."""
    if len(values) < 2 or np.ptp(values) == 0:
        return 0.0
    away = values.mean() - values
    return float((away**3).sum() / (6 * (away**2).sum() ** 1.5))
