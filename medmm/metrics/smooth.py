"""Calibration error without bins: smooth ECE, and the distance of a lowess curve from the diagonal."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct, idct

from medmm.metrics.column import Column, by_column
from medmm.metrics.family import Metric, PerLabel
from medmm.metrics.lowess import lowess
from medmm.types import FloatArray

_CELLS = 1024
_HALVINGS = 26

_EMPTY = "needs at least one sample"
_FEW = "needs at least 3 samples"


def smooth_ece(column: Column, weights: FloatArray) -> FloatArray:
    """(R,) smooth calibration error (Blasiok and Nakkiran 2023); NaN without a sample.

    Residuals are smoothed over the probability by a Gaussian reflected at 0 and 1, and their absolute value
    is integrated. The bandwidth is the one that equals the error it gives, so there is nothing to choose.
    On a grid of 1024 cells the smoothing is a product in cosine space.

    Args:
        column: Labels and probabilities.
        weights: (n, R).
    """
    total = np.asarray(np.ones(len(column.rows)) @ weights[column.rows], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        spectrum = dct(_residual_grid(column, weights) / total, axis=0, norm="ortho")
    frequency = np.pi * np.arange(_CELLS)[:, None]

    def error(bandwidth: FloatArray) -> FloatArray:
        with np.errstate(under="ignore"):
            kernel = np.exp(-0.5 * (frequency * bandwidth) ** 2)
            smoothed = idct(spectrum * kernel, axis=0, norm="ortho")
        return np.asarray(np.abs(smoothed).sum(0))

    low, high = np.zeros_like(total), np.ones_like(total)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = error(middle) > middle  # error falls and bandwidth rises, so they meet once
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(total > 0, error(high), np.nan)


def _residual_grid(column: Column, weights: FloatArray) -> FloatArray:
    """(cells, R) sums of label minus probability, each sample shared between the two nearest cells."""
    place = np.clip(column.p * _CELLS - 0.5, 0, _CELLS - 1)
    left = np.minimum(place.astype(int), _CELLS - 2)
    share, residual = place - left, column.y - column.p
    starts = np.searchsorted(left, np.arange(_CELLS))
    lower, upper = (column.sums(residual * part, starts, weights) for part in (1 - share, share))
    return np.asarray(lower + np.concatenate([np.zeros((1, weights.shape[1])), upper[:-1]]))


def lowess_errors(column: Column, weights: FloatArray) -> FloatArray:
    """(4, R) mean, median, 90 % quantile and largest distance of the lowess curve, held within 0 to 1, from the diagonal."""
    w = weights[column.rows]
    return np.stack([_lowess_error(column, w[:, r]) for r in range(w.shape[1])], axis=1)


def _lowess_error(column: Column, count: FloatArray) -> FloatArray:
    drawn = np.repeat(column.p, count.astype(int))
    if len(drawn) < 3:
        return np.full(4, np.nan)
    x, curve = lowess(column.p, column.y, count)
    off = np.abs(np.clip(curve, 0, 1) - x)[np.searchsorted(x, drawn)]
    return np.array([off.mean(), *np.quantile(off, [0.5, 0.9]), off.max()])


SMOOTH_ECE = PerLabel(
    (Metric("smece", "lower", _EMPTY, 0, 1, null=True),), by_column(lambda column, weights: smooth_ece(column, weights)[None])
)
LOWESS = PerLabel(
    tuple(Metric(f"{stem}[lowess,2/3,0]", "lower", _FEW, 0, 1, dear=True, null=True) for stem in ("ici", "e50", "e90", "emax")),
    by_column(lowess_errors),
)
