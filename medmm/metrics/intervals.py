"""Uncertainty by resampling patients: what is independent is the patient, not the scan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medmm.types import FloatArray, IntArray

_BLOCK = 64


def patient_weights(cluster: IntArray, replicates: int, seed: int) -> Iterator[FloatArray]:
    """Bootstrap weights in blocks of columns.

    Each replicate draws as many patients as there are, with replacement; a sample weighs as often
    as its patient was drawn. The same seed and patients give the same weights, whatever the metric
    or model, which is what makes differences paired.

    Args:
        cluster: (n,) patient index of each sample, 0 to P - 1.
        replicates: Columns in all.
        seed: Seed.

    Yields:
        (n, up to 64) float64.
    """
    patients = int(cluster.max()) + 1 if len(cluster) else 0
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, _BLOCK):
        count = min(_BLOCK, replicates - start)
        drawn = rng.integers(0, patients, size=(count, patients)) + np.arange(count)[:, None] * patients
        by_patient = np.bincount(drawn.ravel(), minlength=count * patients).reshape(count, patients)
        yield by_patient.T[cluster].astype(np.float64)


def percentile_interval(replicates: FloatArray, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the defined replicates, None when there are fewer than half."""
    defined = replicates[~np.isnan(replicates)]
    if len(defined) * 2 < len(replicates) or not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
