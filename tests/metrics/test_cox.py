"""Slope, intercept and totals, against R and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from medmm.metrics import batch, point
from medmm.metrics.column import column
from medmm.metrics.cox import slope_intercept

NAMES = ("cal_slope", "cal_intercept", "cal_in_the_large")


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_slope_intercept_and_in_the_large_equal_r(reference, refs, name) -> None:
    cox, tolerance = refs["results"]["cox"][name], refs["suggested_tolerance"]["cox_coef"]
    found = [point(n, reference(name)) for n in NAMES]
    assert found == pytest.approx([cox["slope"], cox["intercept"], cox["citl"]], rel=0, abs=tolerance)


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_spiegelhalters_z_equals_r(reference, refs, name) -> None:
    assert point("spiegelhalter_z", reference(name)) == pytest.approx(refs["results"]["val_prob"][name]["S:z"], abs=1e-10)


def test_observed_to_expected_is_a_ratio_of_totals(make) -> None:
    scores = make("binary", [1, 0, 1, 0], [0.9, 0.5, 0.4, 0.7])
    assert point("observed_to_expected", scores) == pytest.approx(2 / 2.5)
    assert point("observed_to_expected", scores, np.array([3, 1, 0, 0])) == pytest.approx(3 / 3.2)
    assert np.isnan(point("observed_to_expected", make("binary", [0, 1], [0.0, 0.0])))


def test_spiegelhalters_z_needs_doubt(make) -> None:
    assert np.isnan(point("spiegelhalter_z", make("binary", [0, 1, 1], [0.0, 0.5, 1.0])))


@pytest.mark.parametrize("seed", range(8))
def test_weighted_slope_and_intercept_equal_scikit_learn(make, generated, seed) -> None:
    y, p = generated(seed, "smooth")
    w = np.random.default_rng(seed).integers(0, 4, 60)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(np.log(p / (1 - p))[:, None], y, sample_weight=w)
    found = [point(n, make("binary", y, p), w) for n in NAMES[:2]]
    assert found == pytest.approx([model.coef_[0, 0], model.intercept_[0]], abs=1e-5)


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([0, 0, 0], [0.1, 0.4, 0.5]),
        ([0, 1, 1, 0], [0.5] * 4),
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]),
        ([1, 1, 0], [0.1, 0.4, 0.7]),
        ([0, 0, 1], [0.0, 0.0, 1.0]),
    ],
    ids=["one class", "constant", "separated", "separated the wrong way", "certain"],
)
def test_a_slope_that_does_not_exist_is_undefined(make, y, p) -> None:
    scores = make("binary", y, p)
    assert np.isnan([point("cal_slope", scores), point("cal_intercept", scores)]).all()


@pytest.mark.parametrize("way", [1, -1])
def test_no_separated_sample_has_a_slope_however_it_is_spread(make, way) -> None:
    for seed in range(200):
        p = np.sort(np.random.default_rng(seed).random(24) ** 8)
        label = column(make("binary", np.repeat([0, 1], 12)[::way], p), 1)
        assert np.isnan(slope_intercept(label, np.ones((24, 1)))).all()


def test_a_replicate_without_a_fit_does_not_disturb_its_neighbours(make, generated) -> None:
    y, p = generated(0, "smooth")
    both = np.stack([np.ones(60), y], axis=1)  # the second replicate drew positives only
    scores = make("binary", y, p)
    for name in NAMES:
        found = batch(name, scores, both)
        assert np.isnan(found[1])
        assert found[0] == pytest.approx(point(name, scores), rel=0, abs=1e-13)


def test_replicates_are_fitted_where_the_whole_sample_cannot_be(make) -> None:
    """Separated but for one sample that all but one replicate left out of the start."""
    p = np.array([0.1, 0.2, 0.3, 0.35, 0.6, 0.7, 0.8])
    scores = make("binary", [0, 0, 1, 0, 1, 1, 1], p)
    weights = np.array([[1, 1, 0, 1, 1, 1, 1], [1, 1, 3, 1, 1, 1, 1]]).T
    found = batch("cal_slope", scores, weights)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(point("cal_slope", scores, weights[:, 1]), rel=1e-12)


def test_far_replicates_still_converge(make) -> None:
    """Weights that turn the relation around are far from the fit of the whole sample."""
    rng = np.random.default_rng(1)
    p = rng.random(400)
    y = (rng.random(400) < p).astype(float)
    weights = np.where((y == 1) == (p < 0.5), 20, 1)
    z = np.log(p / (1 - p))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:, None], y, sample_weight=weights)
    assert point("cal_slope", make("binary", y, p), weights) == pytest.approx(model.coef_[0, 0], abs=1e-5)
