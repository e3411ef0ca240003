"""Lowess, against statsmodels and R."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.nonparametric.smoothers_lowess import lowess as statsmodels_lowess

from medmm.metrics.column import column
from medmm.metrics.lowess import lowess


@pytest.mark.parametrize(("n", "digits"), [(10, 9), (60, 9), (400, 9), (2000, 9), (400, 1), (60, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_statsmodels_with_every_sample_as_often_as_it_counts(n, digits, seed) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort((rng.random(n) ** 2).round(digits))
    y, count = (rng.random(n) < x).astype(float), rng.integers(0, 4, n)
    count[[0, -1]] = 1
    every, labels = np.repeat(x, count), np.repeat(y, count)
    expected = statsmodels_lowess(labels, every, frac=2 / 3, it=0, delta=0.01 * np.ptp(every), return_sorted=False)
    values, curve = lowess(x, y, count)
    assert values.tolist() == np.unique(every).tolist()
    assert curve[np.searchsorted(values, every)] == pytest.approx(expected, abs=1e-6)  # they do not cut the weights off at 0.999


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_the_curve_is_that_of_val_prob_in_r(reference, refs, name) -> None:
    """There the curve may leave 0 to 1, which is the whole difference between Eavg and our `ici`."""
    label, theirs = column(reference(name), 1), refs["results"]["val_prob"][name]
    x, curve = lowess(label.p, label.y, np.ones(400))
    off = np.abs(np.interp(label.p, x, curve) - label.p)
    found = [off.mean(), np.quantile(off, 0.9), off.max()]
    assert found == pytest.approx([theirs[k] for k in ("Eavg", "E90", "Emax")], rel=0, abs=1e-6)


def test_a_straight_line_stays_straight() -> None:
    x = np.linspace(0, 1, 50)
    assert lowess(x, 0.2 + 0.5 * x, np.ones(50))[1] == pytest.approx(0.2 + 0.5 * x)


def test_one_value_gives_its_mean() -> None:
    x, curve = lowess(np.full(4, 0.3), np.array([0, 0, 0, 1]), np.array([1, 1, 0, 2]))
    assert (x.tolist(), curve.tolist()) == ([0.3], [0.5])


def test_where_one_value_fills_the_span_its_mean_stands() -> None:
    x = np.r_[np.full(50, 0.5), 0.9, 1.0]
    y = np.r_[np.zeros(25), np.ones(25), 1, 0]
    values, curve = lowess(x, y, np.ones(52))
    assert curve[values == 0.5] == pytest.approx(0.5)
    assert np.isfinite(curve).all()
