"""Prediction sets: the promise kept on new samples, the limits against MAPIE, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.risk_control import MultiLabelClassificationController
from sklearn.base import BaseEstimator, ClassifierMixin

from medmm.errors import ModelError, TaskError
from medmm.metrics.conformal import PredictionSets, covered, fit_sets
from medmm.types import FloatArray


def exclusive(n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """One-hot labels of four classes, the last rare, drawn from probabilities that are too confident afterwards."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([2.0, 2.0, 2.0, 0.3], n)
    labels = (p.cumsum(1) < rng.random((n, 1))).sum(1)
    confident = p**2 / (p**2).sum(1, keepdims=True)
    return np.eye(4)[labels], confident


def independent(n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Five labels of which many samples have none, some not known."""
    rng = np.random.default_rng(seed)
    p = rng.random((n, 5)) ** 3
    target = (rng.random((n, 5)) < p).astype(float)
    target[rng.random((n, 5)) < 0.1] = np.nan
    return target, p**1.5


def mean_coverage(kind: str, draw, n: int, **how) -> float:
    """Over 200 fits, each measured on its own new samples."""
    found = []
    for seed in range(200):
        target, p = draw(n, seed)
        sets = fit_sets(kind, target, p, **how)
        new_target, new_p = draw(200, 10_000 + seed)
        got, due = covered(sets, new_target, sets(new_p))
        found.append(got.sum() / due.sum())
    return float(np.mean(found))


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("promised", [0.8, 0.95])
def test_split_sets_hold_the_truth_as_often_as_promised(score, promised) -> None:
    assert mean_coverage("multiclass", exclusive, 100, method="split", score=score, promised=promised) > promised - 0.006


def test_lac_sets_are_not_larger_than_needed() -> None:
    assert mean_coverage("multiclass", exclusive, 100, method="split", promised=0.8) < 0.82


def test_risk_control_keeps_the_mean_recall() -> None:
    found = mean_coverage("multilabel", independent, 100, method="risk_control", promised=0.8)
    assert 0.794 < found < 0.83


def test_class_conditional_sets_keep_the_promise_for_every_class() -> None:
    found = {"split": [], "class_conditional": []}
    for seed in range(60):
        target, p = exclusive(600, seed)
        new_target, new_p = exclusive(600, 10_000 + seed)
        for method, coverages in found.items():
            inside = fit_sets("multiclass", target, p, method=method)(new_p)
            coverages.append([inside[new_target[:, k] == 1, k].mean() for k in range(4)])
    assert np.mean(found["class_conditional"], axis=0).min() > 0.89
    assert np.mean(found["split"], axis=0)[3] < 0.86  # the rare class pays for a promise kept on the whole


def test_class_conditional_sets_of_labels_hold_the_positives_of_each() -> None:
    target, p = independent(3000, 0)
    new_target, new_p = independent(20_000, 1)
    sets = fit_sets("multilabel", target, p, method="class_conditional")
    inside = sets(new_p)
    for k in range(5):
        assert inside[new_target[:, k] == 1, k].mean() == pytest.approx(0.9, abs=0.03)
    got, due = covered(sets, new_target, inside)
    assert due.sum() == np.nansum(new_target)
    assert got.sum() / due.sum() == pytest.approx(0.9, abs=0.02)


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose inputs are its probabilities."""

    classes_ = np.arange(4)
    fitted_ = True

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(1)


@pytest.mark.parametrize("n", [50, 200, 333])
def test_split_sets_equal_mapie(n) -> None:
    target, p = exclusive(n, n)
    _, new = exclusive(500, 1)
    theirs = SplitConformalClassifier(Given(), confidence_level=0.9, conformity_score="lac", prefit=True)
    theirs.conformalize(p, target.argmax(1))
    expected = theirs.predict_set(new)[1][:, :, 0]
    expected[np.arange(500), new.argmax(1)] = True  # ours are never empty
    assert (fit_sets("multiclass", target, p, method="split")(new) == expected).all()


@pytest.mark.parametrize("n", [60, 300])
def test_risk_control_agrees_with_mapie_to_its_grid(n) -> None:
    target, p = independent(n, n)
    some = np.nansum(target, axis=1) > 0
    theirs = MultiLabelClassificationController(lambda x: x, risk="recall", method="crc", target_level=0.8)
    theirs.calibrate(p[some], np.nan_to_num(target)[some].astype(int))
    threshold = 1 - fit_sets("multilabel", target, p, method="risk_control", promised=0.8).limits[0]
    assert theirs.best_predict_param[0] <= threshold <= theirs.best_predict_param[0] + 0.02 + 1e-9


def test_risk_control_by_hand() -> None:
    """Four samples: one more label may be missed for 1 - 0.7 times 5 less 1, that is half a sample's labels."""
    target = np.array([[1, 1], [1, 0], [0, 1], [1, 0]])
    p = np.array([[0.1, 0.9], [0.6, 0.0], [0.0, 0.5], [0.7, 0.0]])
    sets = fit_sets("multilabel", target, p, method="risk_control", promised=0.7)
    assert sets.limits == pytest.approx((0.5,))
    assert covered(sets, target, sets(p))[0].tolist() == [0.5, 1, 1, 1]


def test_too_few_samples_promise_only_everything() -> None:
    target, p = exclusive(8, 0)
    sets = fit_sets("multiclass", target, p, method="split")
    assert sets(p).all()
    assert fit_sets("multilabel", np.eye(3), np.eye(3), method="risk_control")(np.zeros((1, 3))).all()
    with_rare = fit_sets(
        "multiclass", np.eye(4)[[0] * 50 + [1] * 50 + [2] * 50], np.full((150, 4), 0.25), method="class_conditional"
    )
    assert np.isinf(with_rare.limits[3])


def test_no_set_is_empty() -> None:
    target = np.tile([1.0, 0.0], (50, 1))
    sets = fit_sets("binary", target, np.tile([0.99, 0.01], (50, 1)), method="split")
    assert sets(np.array([[0.6, 0.4]])).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("multilabel", {"method": "split"}),
        ("multilabel", {"method": "class_conditional", "score": "aps"}),
        ("binary", {"method": "risk_control"}),
        ("binary", {"method": "split", "promised": 1.0}),
    ],
)
def test_what_is_not_defined_is_refused(kind, how) -> None:
    with pytest.raises(TaskError, match="Expected"):
        fit_sets(kind, np.eye(2), np.eye(2), **how)
    with pytest.raises(TaskError, match="0 samples"):
        fit_sets("binary", np.empty((0, 2)), np.empty((0, 2)), method="split")


@pytest.mark.parametrize(
    ("kind", "method", "draw"), [("multiclass", "class_conditional", exclusive), ("multilabel", "risk_control", independent)]
)
def test_sets_survive_json(kind, method, draw) -> None:
    sets = fit_sets(kind, *draw(40, 0), method=method)
    again = PredictionSets.from_dict(json.loads(json.dumps(sets.to_dict(), allow_nan=False)))
    assert again == sets


@pytest.mark.parametrize(
    "change", [{"method": "other"}, {"limits": []}, {"limits": "x"}, {"promised": 2}, {"n": None}, {"more": 1}]
)
def test_unsound_sets_are_refused(change) -> None:
    content = fit_sets("binary", np.eye(2), np.eye(2), method="split").to_dict() | change
    with pytest.raises(ModelError):
        PredictionSets.from_dict(content)
