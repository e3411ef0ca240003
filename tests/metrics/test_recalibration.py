"""Calibrators: what they mend, what they leave alone, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from medmm.errors import ModelError
from medmm.metrics.calibration import judge_calibration, slope_intercept
from medmm.metrics.recalibration import Calibrator, fit_calibrator


def confident(n: int, seed: int, times: float = 3.0, shift: float = 1.0):
    """One-hot labels of two classes and logits that are too confident and off centre."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    y = (rng.random(n) < expit(z)).astype(int)
    return np.eye(2)[y], np.stack([np.zeros(n), times * z + shift], axis=1)


def test_overconfident_logits_become_calibrated_on_new_samples(make) -> None:
    target, logits = confident(3000, 1)
    before, after = (f(logits)[:, 1] for f in (lambda v: softmax(v, axis=1), fit_calibrator("binary", *confident(3000, 0))))
    assert judge_calibration(make("binary", target[:, 1], before), 1).calibrated is False
    fixed = make("binary", target[:, 1], after)
    assert judge_calibration(fixed, 1).calibrated is True
    assert slope_intercept(fixed, np.ones((3000, 1)), 1)[1][0] == pytest.approx(1, abs=0.15)


def test_many_samples_reach_the_unpenalised_fit_of_scikit_learn() -> None:
    target, logits = confident(20000, 0)
    ours = fit_calibrator("binary", target, logits)
    theirs = LogisticRegression(C=np.inf).fit(logits[:, 1:], target[:, 1])
    assert ours.slope[0] == pytest.approx(theirs.coef_[0, 0], rel=0.01)
    assert ours.bias[1] - ours.bias[0] == pytest.approx(theirs.intercept_[0], abs=0.01)


def test_calibration_of_two_classes_keeps_their_order() -> None:
    target, logits = confident(50, 0)
    p = fit_calibrator("binary", 1 - target, logits)(logits)[:, 1]  # even when labels say the opposite
    assert (np.diff(p[np.argsort(logits[:, 1])]) >= 0).all()


def test_the_fit_is_the_most_probable_under_its_priors() -> None:
    """Log-slope with standard deviation 1, biases with 1.5, found without gradients."""
    target, logits = confident(12, 0, shift=4.0)

    def loss(v) -> float:
        p = softmax(np.exp(v[0]) * logits + v[1:], axis=1)
        return -np.log(p[target == 1]).sum() + v[0] ** 2 / 2 + (v[1:] ** 2).sum() / (2 * 1.5**2)

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000}).x
    fitted = fit_calibrator("binary", target, logits)
    assert [np.log(fitted.slope[0]), *fitted.bias] == pytest.approx(best, abs=1e-3)


def test_few_samples_leave_probabilities_nearly_as_they_are() -> None:
    fitted = fit_calibrator("binary", np.eye(2), np.array([[0.2, 0.0], [0.0, 0.2]]))
    assert 0.5 < fitted.slope[0] < 2
    assert np.abs(fitted.bias).max() < 0.5


def test_separated_classes_stay_finite() -> None:
    logits = np.array([[5.0, -5.0]] * 20 + [[-5.0, 5.0]] * 20)
    p = fit_calibrator("binary", np.eye(2)[[0] * 20 + [1] * 20], logits)(logits)
    assert np.isfinite(p).all()
    assert (p > 0).all()


def test_multiclass_probabilities_sum_to_one_and_follow_the_class_frequencies() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3))
    target = np.eye(3)[rng.choice(3, size=400, p=[0.7, 0.2, 0.1])]
    p = fit_calibrator("multiclass", target, logits)(logits)
    assert p.sum(1) == pytest.approx(np.ones(400))
    assert p.mean(0) == pytest.approx(target.mean(0), abs=0.02)


def test_labels_are_calibrated_one_by_one_without_the_unknown() -> None:
    target, logits = confident(500, 0)
    alone = fit_calibrator("multilabel", target[:, 1:], logits[:, 1:])
    beside = fit_calibrator("multilabel", np.c_[target[:, 1], np.full(500, np.nan)], np.c_[logits[:, 1], logits[:, 1]])
    assert (alone.slope[0], alone.bias[0]) == (beside.slope[0], beside.bias[0])
    assert (beside.slope[1], beside.bias[1]) == pytest.approx((1, 0))


def test_a_calibrator_survives_json() -> None:
    fitted = fit_calibrator("binary", *confident(30, 0))
    assert Calibrator.from_dict("binary", fitted.to_dict()) == fitted


@pytest.mark.parametrize(
    "change", [{"method": "other"}, {"slope": [-1.0]}, {"slope": [0.0]}, {"bias": [float("nan"), 0]}, {"bias": "x"}, {"n": None}]
)
def test_an_unsound_calibrator_is_refused(change) -> None:
    content = {"method": "map_scaling", "slope": [1.0], "bias": [0.0, 0.0], "n": 30} | change
    with pytest.raises(ModelError):
        Calibrator.from_dict("binary", content)
