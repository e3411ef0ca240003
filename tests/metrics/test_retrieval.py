"""Held against scikit-learn's top-k accuracy, and ties against all orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from medmm.errors import NonFiniteError, PredictionsError
from medmm.metrics.retrieval import hits_at_k, recall_at_k


@pytest.mark.parametrize("k", [1, 3, 19])
def test_recall_equals_scikit_learn_without_ties(k) -> None:
    rng = np.random.default_rng(0)
    similarity, match = rng.normal(size=(50, 20)), rng.integers(0, 20, 50)
    expected = top_k_accuracy_score(match, similarity, k=k, labels=range(20))
    assert recall_at_k(similarity, match, k) == pytest.approx(expected, abs=1e-15)


def test_ties_are_worth_the_mean_over_all_their_orders() -> None:
    row, own = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), 2
    for k in range(1, 6):
        found = []
        for order in itertools.permutations(range(5)):
            ranked = sorted(order, key=lambda i: -row[i])  # stable: the permutation breaks ties
            found.append(own in ranked[:k])
        assert hits_at_k(row[None], np.array([own]), k)[0] == pytest.approx(np.mean(found))


def test_a_constant_similarity_retrieves_by_chance() -> None:
    assert recall_at_k(np.zeros((7, 10)), np.arange(7), 5) == 0.5
    assert recall_at_k(np.zeros((7, 10)), np.arange(7), 10) == 1.0


def test_no_query_has_no_recall() -> None:
    assert np.isnan(recall_at_k(np.empty((0, 3)), np.empty(0, int), 1))


@pytest.mark.parametrize(("match", "k"), [([0, 1, 2], 1), ([0, 3], 1), ([-1, 0], 1), ([0, 1], 0), ([0, 1], 4)])
def test_what_does_not_fit_is_refused(match, k) -> None:
    with pytest.raises(PredictionsError, match="k from 1 to 3"):
        hits_at_k(np.zeros((2, 3)), np.array(match), k)


def test_similarities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(NonFiniteError):
        hits_at_k(np.array([[np.nan, 1.0]]), np.array([0]), 1)
