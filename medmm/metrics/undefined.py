"""Arithmetic in which what is undefined is NaN, never 0 and never a warning."""

from __future__ import annotations

import numpy as np

from medmm.types import FloatArray


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Element by element; NaN unless the denominator is above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def nan_mean(values: FloatArray, axis: int = -1) -> FloatArray:
    """Mean over one axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis), defined.sum(axis).astype(np.float64))
