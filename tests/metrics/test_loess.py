"""The smoother, where its answer is known; against R in `test_curves`."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics.loess import loess

SURFACES = pytest.mark.parametrize("interpolated", [False, True])


@SURFACES
def test_a_parabola_stays_one(interpolated) -> None:
    x = np.sort(np.random.default_rng(0).random(80))
    assert loess(x, 0.2 + x - x**2, interpolated=interpolated) == pytest.approx(0.2 + x - x**2, abs=1e-10)


@SURFACES
def test_equal_values_share_one_answer(interpolated) -> None:
    x = np.repeat(np.linspace(0, 1, 12), 5)
    y = (np.random.default_rng(1).random(60) < x).astype(float)
    found = loess(x, y, interpolated=interpolated).reshape(12, 5)
    assert np.ptp(found, axis=1) == pytest.approx(0)
    assert np.ptp(found) > 0.5
