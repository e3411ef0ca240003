"""Ordinal measures against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from medmm.metrics.ordinal import quadratic_kappa, ranked_probability_score


def test_quadratic_kappa_is_that_of_sklearn_under_any_weights() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=60)
    called = np.clip(truth + rng.integers(-1, 2, size=60), 0, 3)
    weights = rng.integers(0, 4, size=(60, 5)).astype(float)
    found = quadratic_kappa(truth, called, 4, weights)
    wanted = [cohen_kappa_score(truth, called, weights="quadratic", labels=range(4), sample_weight=w) for w in weights.T]
    assert found == pytest.approx(wanted)


def test_kappa_of_one_class_alone_is_undefined() -> None:
    ones = np.ones(5, dtype=int)
    assert np.isnan(quadratic_kappa(ones, ones, 3, np.ones((5, 1)))).all()


def test_an_answer_further_off_scores_worse() -> None:
    target = np.eye(3)[[0, 0, 0, 0]]
    p = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.3, 0.2]])
    assert ranked_probability_score(target, p) == pytest.approx([0, 0.5, 1, (0.5**2 + 0.2**2) / 2])
