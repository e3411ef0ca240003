"""Measures of quantities against scikit-learn, with weights as repeated samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error as sk_mae
from sklearn.metrics import r2_score

from medmm.metrics.regression import calibration_slope, mean_absolute_error, r_squared


def sk_slope(y: Any, f: Any, sample_weight: Any) -> float:
    return float(LinearRegression().fit(f[:, None], y, sample_weight=sample_weight).coef_[0])


@pytest.mark.parametrize(("ours", "theirs"), [(mean_absolute_error, sk_mae), (r_squared, r2_score), (calibration_slope, sk_slope)])
def test_the_same_as_sklearn_far_from_zero_too(ours: Callable[..., Any], theirs: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(1e4, 3, size=50)
    f = y + rng.normal(0, 2, size=50)
    weights = rng.integers(0, 4, size=(50, 6)).astype(float)
    assert ours(y, f, weights) == pytest.approx([theirs(y, f, sample_weight=w) for w in weights.T], rel=1e-6)


def test_what_is_the_same_for_everybody_has_no_slope() -> None:
    y, alike = np.random.default_rng(0).normal(size=31), np.full(31, 1 / 3)
    weights = np.random.default_rng(1).integers(0, 3, size=(31, 8)).astype(float)
    assert np.isnan(calibration_slope(y, alike, weights)).all()
    assert np.isnan(r_squared(alike, y, weights)).all()
