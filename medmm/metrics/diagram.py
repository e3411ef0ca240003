"""Calibration to look at: bins with intervals, and a smooth curve with a band."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medmm.metrics.binned import bin_index
from medmm.metrics.column import Column, column
from medmm.metrics.intervals import percentile_interval
from medmm.metrics.lowess import lowess
from medmm.metrics.proportions import wilson_interval
from medmm.metrics.scores import Scores
from medmm.types import FloatArray

Curve = tuple[tuple[float, float, float, float], ...]
"""Points of (predicted, observed, low, high)."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability diagram; the interval is Wilson's, 95 %."""

    count: int
    predicted: float
    observed: float
    low: float
    high: float


def reliability(scores: Scores, index: int, *, max_bins: int = 10, per_bin: int = 15) -> list[ReliabilityBin]:
    """Bins of equal mass for a reliability diagram; equal probabilities stay together.

    Args:
        scores: What to draw.
        index: Label.
        max_bins: At most this many.
        per_bin: At least this many samples in each, where there are enough.
    """
    known = ~np.isnan(scores.target[:, index])
    y, p = scores.target[known, index], scores.probability[known, index]
    if not len(y):
        return []
    places = bin_index(p, max(1, min(max_bins, len(y) // per_bin)), "equal_mass")
    out = []
    for b in np.unique(places):
        inside = places == b
        n, hits = int(inside.sum()), int(y[inside].sum())
        out.append(ReliabilityBin(n, float(p[inside].mean()), hits / n, *wilson_interval(hits, n)))
    return out


def smooth_curve(scores: Scores, index: int, blocks: Iterable[FloatArray], *, points: int = 50, level: float = 0.95) -> Curve:
    """Observed frequency along the predicted one by lowess, with a bootstrap band.

    Args:
        scores: What to draw.
        index: Label.
        blocks: Bootstrap weights (n, R) in any number of blocks, e.g. from `patient_weights`.
        points: At most so many, at quantiles of the probabilities.
        level: Of the band.

    Returns:
        (predicted, observed, low, high) by rising prediction; empty with fewer than 3 samples. A point that fewer than
        half of the replicates reach is left out.
    """
    label = column(scores, index)
    if len(label.p) < 3:
        return ()
    grid = np.unique(np.quantile(label.p, np.linspace(0, 1, points)))
    observed = _curve_at(grid, label, np.ones(len(label.p)))
    replicates = [_curve_at(grid, label, w[label.rows, r]) for w in blocks for r in range(w.shape[1])]
    bands = [percentile_interval(values, level) for values in np.stack(replicates, axis=1)]
    return tuple((float(p), float(o), *band) for p, o, band in zip(grid, observed, bands, strict=True) if band is not None)


def _curve_at(grid: FloatArray, label: Column, count: FloatArray) -> FloatArray:
    """Lowess curve at these probabilities, NaN outside of those drawn."""
    if count.sum() < 3:
        return np.full(len(grid), np.nan)
    x, curve = lowess(label.p, label.y, count)
    return np.interp(grid, x, np.clip(curve, 0, 1), left=np.nan, right=np.nan)
