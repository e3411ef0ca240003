"""Scaling of logits: what it mends, what it leaves alone, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from medmm.errors import ModelError
from medmm.metrics import point
from medmm.metrics.calibration import judge_calibration
from medmm.metrics.recalibration import Calibrator, fit, fit_calibrator


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
    assert point("cal_slope", fixed) == pytest.approx(1, abs=0.15)


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


def test_the_fit_is_the_most_probable_under_its_priors_shrunk_by_what_chance_brings() -> None:
    """Log-slope with standard deviation 0.5, biases with 0.7, found without gradients; shrinkage 1 - df / chi2."""
    target, logits = confident(12, 0, shift=4.0)

    def loss(v) -> float:
        p = softmax(np.exp(v[0]) * logits + v[1:], axis=1)
        return -np.log(p[target == 1]).sum() + v[0] ** 2 / (2 * 0.5**2) + (v[1:] ** 2).sum() / (2 * 0.7**2)

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000}).x
    before, after = (
        log_loss(target[:, 1], softmax(z, axis=1), normalize=False) for z in (logits, np.exp(best[0]) * logits + best[1:])
    )
    fitted = fit_calibrator("binary", target, logits)
    assert [np.log(fitted.slope[0]), *fitted.bias] == pytest.approx(best * (1 - 2 / (2 * (before - after))), abs=1e-3)


def test_logits_that_are_right_are_left_nearly_alone() -> None:
    rng = np.random.default_rng(0)
    away = []
    for _ in range(200):
        logits = rng.normal(size=(60, 2))
        label = (rng.random(60) < softmax(logits, axis=1)[:, 1]).astype(int)
        fitted = fit_calibrator("binary", np.eye(2)[label], logits)
        away.append([abs(np.log(fitted.slope[0])), abs(fitted.bias[1] - fitted.bias[0])])
    assert (np.median(away, axis=0) < 0.02).all()


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


class Logits(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose inputs are its logits."""

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def decision_function(self, X):
        return X[:, 1] - X[:, 0] if self.classes == 2 else X

    def predict(self, X):
        return X.argmax(1)


def several(n: int, seed: int):
    """One-hot labels of three classes and logits that are too confident and off centre."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    labels = (softmax(z, axis=1).cumsum(1) < rng.random((n, 1))).sum(1)
    return np.eye(3)[labels], 2.5 * z + [0.0, 0.5, -0.5]


def sklearns(method: str, target, logits):
    model = CalibratedClassifierCV(FrozenEstimator(Logits(target.shape[1])), method=method)
    return model.fit(logits, target.argmax(1)).predict_proba(logits)


@pytest.mark.parametrize("seed", range(3))
def test_temperature_of_several_classes_equals_scikit_learn(seed) -> None:
    target, logits = several(400, seed)
    assert fit("temperature", "multiclass", target, logits)(logits) == pytest.approx(
        sklearns("temperature", target, logits), abs=1e-3
    )


@pytest.mark.parametrize("seed", range(3))
def test_platt_equals_scikit_learn(seed) -> None:
    target, logits = confident(200, seed)
    assert fit("platt", "binary", target, logits)(logits) == pytest.approx(sklearns("sigmoid", target, logits), abs=1e-4)


def test_vector_scaling_is_the_multinomial_regression_on_each_own_logit() -> None:
    target, logits = several(2000, 0)
    fitted = fit("vector", "multiclass", target, logits)

    def loss(v) -> float:
        return -np.log(softmax(v[:3] * logits + np.r_[0, v[3:]], axis=1)[target == 1]).sum()

    best = minimize(loss, np.r_[1, 1, 1, 0, 0], method="Nelder-Mead", options={"maxiter": 20_000, "xatol": 1e-8, "fatol": 1e-9}).x
    assert fitted.slope == pytest.approx(best[:3], abs=1e-3)
    assert np.diff(fitted.bias) == pytest.approx(np.diff(np.r_[0, best[3:]]), abs=1e-3)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_every_label_has_its_own_scale(method) -> None:
    target, logits = confident(500, 0)
    alone = fit(method, "binary", target, np.stack([np.zeros(500), logits[:, 1]], axis=1))(logits)[:, 1]
    unknown = np.where(np.arange(500) < 100, np.nan, target[:, 1])
    both = fit(method, "multilabel", np.c_[target[:, 1], unknown], np.c_[logits[:, 1], logits[:, 1]])(
        np.c_[logits[:, 1], logits[:, 1]]
    )
    assert both[:, 0] == pytest.approx(alone, abs=1e-4)
    assert np.abs(both[:, 1] - alone).max() > 1e-4
