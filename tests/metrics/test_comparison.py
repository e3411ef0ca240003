"""Held against R, statsmodels, enumeration by hand, and the rate of false alarms where nothing differs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from medmm.metrics.comparison import adjust, bootstrap_p, delong_p, mcnemar, mcnemar_p, permutation_p


def right(table) -> tuple[np.ndarray, np.ndarray]:
    """(both, first only, second only, neither) counts to two columns of right answers."""
    pairs = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], table, axis=0).astype(bool)
    return pairs[:, 0], pairs[:, 1]


def test_mcnemar_equals_r(inference_refs) -> None:
    expected = inference_refs["mcnemar"]
    both, second_only, first_only, neither = expected["table"]  # R counts columns first
    found = mcnemar(*right([both, first_only, second_only, neither]))
    assert (found.first, found.second) == (first_only, second_only)
    theirs = [expected["exact_p"], expected["p_cc"], expected["p"]]
    assert [found.exact, found.corrected, found.plain] == pytest.approx(theirs, rel=0, abs=1e-10)


@pytest.mark.parametrize("table", [(5, 3, 9, 2), (0, 1, 0, 0), (4, 6, 6, 1), (100, 40, 20, 5)])
def test_mcnemar_equals_statsmodels(table) -> None:
    a, b, c, d = table
    found, square = mcnemar(*right(table)), [[a, b], [c, d]]
    assert found.exact == mcnemar_p(*right(table)) == pytest.approx(statsmodels_mcnemar(square, exact=True).pvalue)
    assert found.plain == pytest.approx(statsmodels_mcnemar(square, exact=False, correction=False).pvalue)
    if b != c:  # they let the correction overshoot zero
        assert found.corrected == pytest.approx(statsmodels_mcnemar(square, exact=False, correction=True).pvalue)


def test_models_that_never_disagree_do_not_differ() -> None:
    assert mcnemar(*right((7, 0, 0, 3)))[2:] == (1.0, 1.0, 1.0)


def test_adjusted_p_values_equal_r(refs) -> None:
    expected = refs["results"]["p_adjust"]
    p = np.array(expected["p"])
    assert adjust(p, "holm") == pytest.approx(expected["holm"], rel=1e-12)
    assert adjust(p, "bh") == pytest.approx(expected["BH"], rel=1e-12)
    assert adjust(p, "bonferroni") == pytest.approx(expected["bonferroni"], rel=1e-12)
    assert adjust(p, "hommel") == pytest.approx(expected["hommel"], rel=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh"), ("bonferroni", "bonferroni"), ("hommel", "hommel")]
)
def test_adjusted_p_values_equal_statsmodels_in_any_order(ours, theirs) -> None:
    p = np.random.default_rng(0).random(25) ** 3
    p[3] = p[4]
    assert adjust(p, ours) == pytest.approx(multipletests(p, method=theirs)[1], rel=1e-12)
    assert adjust(p[:1], ours).tolist() == p[:1].tolist()


def test_the_bootstrap_p_is_the_tail_beyond_zero() -> None:
    assert bootstrap_p(np.r_[np.full(989, 0.1), np.full(10, -0.1)]) == pytest.approx(2 * 11 / 1000)
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(50)) == 1.0
    assert np.isnan(bootstrap_p(np.array([np.nan, np.nan, 0.1])))
    assert np.isnan(bootstrap_p(np.array([])))


def test_delong_p_knows_patients(refs, inference_refs) -> None:
    given = refs["data_synthetic"]
    y, p1, p2 = (np.array(given[name]) for name in ("y", "p1", "p2"))
    alone = delong_p(y, p1, p2)
    assert alone == pytest.approx(inference_refs["roc"]["test_p1_p2"]["p"], abs=1e-8)
    four = [np.repeat(a, 4) for a in (y, p1, p2)]
    assert delong_p(*four, np.repeat(np.arange(400), 4)) == pytest.approx(alone, rel=1e-9)
    assert delong_p(*four) < alone / 5


def test_the_permutation_p_is_that_of_all_exchanges(make) -> None:
    rng = np.random.default_rng(1)
    y, patient = np.array([0, 1, 1, 0, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 2, 3, 4, 5])
    a, b = rng.random(8), rng.random(8)
    loss_a, loss_b = (a - y) ** 2, (b - y) ** 2
    every = []
    for swap in itertools.product([0, 1], repeat=6):
        swapped = np.array(swap)[patient]
        every.append(np.mean(np.where(swapped, loss_b, loss_a)) - np.mean(np.where(swapped, loss_a, loss_b)))
    exact = np.mean(np.abs(every) >= abs(np.mean(loss_a - loss_b)) - 1e-12)
    scores = [make("binary", y, p, cluster=patient) for p in (a, b)]
    assert permutation_p(*scores, "brier", 8000) == pytest.approx(exact, abs=0.02)


def test_the_permutation_p_is_reproducible_and_knows_equality_and_the_undefined(make) -> None:
    rng = np.random.default_rng(2)
    y, p, q = rng.random(40) < 0.5, rng.random(40), rng.random(40)
    a, b = make("binary", y, p), make("binary", y, q)
    assert permutation_p(a, b, "auroc", 300) == permutation_p(a, b, "auroc", 300)
    assert permutation_p(a, a, "auroc", 100) == 1.0
    assert np.isnan(permutation_p(make("binary", [1, 1], [0.2, 0.3]), make("binary", [1, 1], [0.4, 0.3]), "auroc"))


def test_a_permutation_test_of_patients_raises_false_alarms_as_often_as_it_says(make) -> None:
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(30), 3)
        y = (rng.random(30) < 0.5).astype(float)[patient]
        first, second = (1 / (1 + np.exp(-(2 * y - 1) - rng.normal(size=30)[patient])) for _ in range(2))
        a, b = (make("binary", y, p, cluster=patient) for p in (first, second))
        alarms.append(permutation_p(a, b, "brier", 199, seed) <= 0.05)
    assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
