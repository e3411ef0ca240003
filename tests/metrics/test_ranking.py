"""AUROC by every definition: labels against the rest, classes against each other, at sizes and ties that break others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from medmm.metrics import batch, evaluate, point
from medmm.metrics.ranking import Ranking, areas

EXACT = {"rel": 0, "abs": 1e-12}


def test_a_walk_is_the_same_for_labels_together_and_alone() -> None:
    """Labels with many chunks, with one, with none, with unknown samples and with ties, in one operator."""
    rng = np.random.default_rng(0)
    n = 400
    questions = [
        ((rng.random(n) < 0.5).astype(float), rng.random(n)),
        ((rng.random(n) < 0.02).astype(float), rng.random(n)),
        (np.zeros(n), rng.random(n)),
        (np.where(rng.random(n) < 0.3, np.nan, rng.random(n) < 0.4), rng.random(n).round(1)),
        (np.full(n, np.nan), rng.random(n)),
        (np.ones(n), np.full(n, 0.5)),
    ]
    weights = rng.integers(0, 4, (n, 5)).astype(float)
    together = areas(Ranking.of(questions), weights)
    for k, question in enumerate(questions):
        alone = areas(Ranking.of([question]), weights)
        for a, b in zip(together, alone, strict=True):
            assert a[k] == pytest.approx(b[0], **EXACT, nan_ok=True)
    assert np.isnan(together[0][[2, 4, 5]]).all()
    assert (together[1][5] == 1).all()


@pytest.mark.parametrize("decimals", [2, 16])
def test_areas_of_very_many_samples_equal_scikit_learn(make, decimals) -> None:
    rng = np.random.default_rng(0)
    y = rng.random(150_000) < 0.3
    p = ((y + rng.normal(size=len(y)) + 5) / 12).clip(0, 1).round(decimals)
    w = rng.integers(0, 3, len(y))
    scores = make("binary", y, p)
    assert point("auroc", scores, w) == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w), **EXACT)
    assert point("auprc", scores, w) == pytest.approx(sk.average_precision_score(y, p, sample_weight=w), **EXACT)


def test_weights_too_large_for_single_precision_are_summed_in_double(make) -> None:
    y, p = np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.3, 0.35, 0.4, 0.2])
    w = np.array([2**24 + 1, 3, 2**25 + 1, 1, 7])
    expected = (3 * (w[0] + w[4]) + 1 * (w[0] + w[2] + w[4])) / (4 * (w[0] + w[2] + w[4]))
    assert point("auroc", make("binary", y, p), w) == pytest.approx(expected, rel=1e-15)


def test_hand_till_equals_r_proc(make, refs, inference_refs) -> None:
    found = point("auroc_hand_till", make("multiclass", refs["data_synthetic"]["yc"], refs["data_synthetic"]["P"]))
    assert found == pytest.approx(inference_refs["hand_till_auc"], **EXACT)


@pytest.mark.parametrize("seed", range(8))
def test_hand_till_equals_scikit_learn(make, seed) -> None:
    rng = np.random.default_rng(seed)
    y, p = np.r_[0, 1, 2, 3, rng.integers(0, 4, 60)], rng.dirichlet([0.5] * 4, 64)
    w = rng.integers(1, 4, 64)
    found = point("auroc_hand_till", make("multiclass", y, p), w)
    assert found == pytest.approx(sk.roc_auc_score(np.repeat(y, w), np.repeat(p, w, axis=0), multi_class="ovo"), **EXACT)


def test_hand_till_leaves_out_classes_that_do_not_occur(make) -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 40), rng.dirichlet([1] * 3, 40)
    expected = np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in (0, 1)])
    assert point("auroc_hand_till", make("multiclass", y, p)) == pytest.approx(expected, **EXACT)


def test_all_scores_tied_are_chance_and_their_precision_the_class_frequency(make) -> None:
    rng = np.random.default_rng(0)
    y, w = rng.random(50) < 0.3, rng.integers(0, 3, (50, 7))
    scores = make("binary", y, np.full(50, 0.4))
    assert (batch("auroc", scores, w) == 0.5).all()
    assert batch("auprc", scores, w) == pytest.approx(batch("prevalence[b]", scores, w), rel=1e-15)


@pytest.mark.parametrize("positives", [0, 1])
def test_a_label_with_no_or_one_positive(make, positives) -> None:
    y, p = np.zeros(30), np.linspace(0, 1, 30)
    y[20 : 20 + positives] = 1
    found = evaluate(make("binary", y, p), np.ones((30, 1)), ["auroc", "auprc"])
    if positives:
        assert found["auroc"][0] == pytest.approx(20 / 29)
        assert found["auprc"][0] == pytest.approx(1 / 10)
    else:
        assert np.isnan([found["auroc"][0], found["auprc"][0]]).all()
