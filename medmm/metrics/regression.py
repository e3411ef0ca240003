"""How good predicted quantities are."""

from __future__ import annotations

import numpy as np

from medmm.metrics.undefined import ratio
from medmm.types import FloatArray

_ALIKE = 1e-12  # share of the largest square below which a spread is rounding


def mean_absolute_error(truth: FloatArray, predicted: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) in the unit of the quantity.

    Args:
        truth: (n,) values.
        predicted: (n,) likewise.
        weights: (n, R) how often each sample counts.
    """
    return ratio(abs(truth - predicted) @ weights, weights.sum(0))


def r_squared(truth: FloatArray, predicted: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) 1 - squared errors / squared distances from the mean of these samples; NaN where all are alike."""
    return 1 - ratio((truth - predicted) ** 2 @ weights, _spread(truth, weights))


def calibration_slope(truth: FloatArray, predicted: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) slope of the truth on the prediction by least squares, 1 when right; NaN where predictions are alike."""
    return ratio(_together(truth, predicted, weights), _spread(predicted, weights))


def _spread(values: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) weighted squares about the weighted mean, 0 where they are rounding alone."""
    found = _together(values, values, weights)
    return np.where(found > _ALIKE * weights.sum(0) * np.square(values).max(initial=0), found, 0.0)


def _together(a: FloatArray, b: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) weighted products about the weighted means."""
    a, b = a - a.mean(), b - b.mean()  # what all share would drown what differs
    found: FloatArray = (a * b) @ weights - ratio((a @ weights) * (b @ weights), weights.sum(0))
    return found
