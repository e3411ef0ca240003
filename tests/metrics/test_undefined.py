from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics.undefined import nan_mean, ratio


def test_a_ratio_over_nothing_is_undefined_without_a_warning() -> None:
    found = ratio(np.array([1.0, 0.0, 1.0, np.nan]), np.array([2.0, 0.0, 0.0, 1.0]))
    assert found == pytest.approx([0.5, np.nan, np.nan, np.nan], nan_ok=True)


def test_a_mean_leaves_out_what_is_undefined() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    assert nan_mean(values) == pytest.approx([1.0, 2.5])
    assert nan_mean(values, axis=0) == pytest.approx([2.0, 2.0, np.nan], nan_ok=True)
