"""Recall@k and ranks against a sort and against all orders of ties."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from medmm.metrics.retrieval import hits, ranks


def test_without_ties_a_hit_is_a_place_in_the_sorted_list() -> None:
    similarity = np.random.default_rng(0).normal(size=(30, 30))
    places = [list(np.argsort(-row)).index(i) + 1 for i, row in enumerate(similarity)]
    for k in (1, 5, 10):
        np.testing.assert_array_equal(hits(similarity, k), np.array(places) <= k)
    np.testing.assert_array_equal(ranks(similarity), places)


def test_ties_count_as_the_mean_over_their_orders() -> None:
    similarity = np.random.default_rng(1).integers(0, 3, size=(5, 5)).astype(float)
    for k in (1, 2, 3):
        for i, row in enumerate(similarity):
            orders = [sorted(order, key=lambda j: -row[j]) for order in permutations(range(5))]
            found = np.mean([i in order[:k] for order in orders])
            assert hits(similarity, k)[i] == pytest.approx(found)
            assert ranks(similarity)[i] == pytest.approx(np.mean([order.index(i) + 1 for order in orders]))


def test_vectors_that_are_all_alike_reach_chance_and_no_more() -> None:
    alike = np.ones((8, 8))
    np.testing.assert_allclose(hits(alike, 3), 3 / 8)
    np.testing.assert_allclose(ranks(alike), 4.5)
