"""Brier score, log-loss, skill and the parts of the Brier score, against scikit-learn and R."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from medmm.metrics import evaluate, point
from medmm.metrics.column import column
from medmm.metrics.proper import PROPER, murphy

EXACT = {"rel": 0, "abs": 1e-12}
KINDS = pytest.mark.parametrize("kind", ["smooth", "ties", "certain", "constant"])


@KINDS
@pytest.mark.parametrize("seed", range(10))
def test_binary_scores_and_skills_equal_scikit_learn(make, generated, kind, seed) -> None:
    y, p = generated(seed, kind)
    w = np.random.default_rng(seed).integers(0, 4, 60)
    scores = make("binary", y, p)
    assert point("brier", scores, w) == pytest.approx(sk.brier_score_loss(y, p, sample_weight=w), **EXACT)
    assert point("log_loss", scores, w) == pytest.approx(sk.log_loss(y, p, sample_weight=w, labels=[0, 1]), **EXACT)
    assert point("brier_skill", scores, w) == pytest.approx(sk.d2_brier_score(y, p, sample_weight=w), **EXACT)
    skill = sk.d2_log_loss_score(y, p, sample_weight=w, labels=[0, 1])
    assert point("log_loss_skill", scores, w) == pytest.approx(skill, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_multiclass_scores_and_skills_equal_scikit_learn(make, seed) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.3] * 4, 50)
    y, w = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    scores = make("multiclass", y, p)
    summed = sk.brier_score_loss(y, p, labels=range(4), scale_by_half=False, sample_weight=w)
    assert point("brier", scores, w) == pytest.approx(summed, **EXACT)
    assert point("log_loss", scores, w) == pytest.approx(sk.log_loss(y, p, labels=range(4), sample_weight=w), **EXACT)
    assert point("brier_skill", scores, w) == pytest.approx(sk.d2_brier_score(y, p, labels=range(4), sample_weight=w), **EXACT)
    skill = sk.d2_log_loss_score(y, p, labels=range(4), sample_weight=w)
    assert point("log_loss_skill", scores, w) == pytest.approx(skill, rel=1e-12)
    assert point("brier[b]", scores, w) == pytest.approx(sk.brier_score_loss(y == 1, p[:, 1], sample_weight=w), **EXACT)


def test_multilabel_scores_are_the_mean_over_labels_of_what_is_known(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.random((50, 3))
    target = (rng.random((50, 3)) < p).astype(float)
    target[rng.random((50, 3)) < 0.3] = np.nan
    scores, known = make("multilabel", target, p), ~np.isnan(target)
    for name, theirs in (("brier", sk.brier_score_loss), ("log_loss", sk.log_loss), ("brier_skill", sk.d2_brier_score)):
        each = [theirs(target[known[:, k], k], p[known[:, k], k]) for k in range(3)]
        assert point(name, scores) == pytest.approx(np.mean(each), **EXACT)
        stem = name.removesuffix("_macro")
        assert [point(f"{stem}[{label}]", scores) for label in "abc"] == pytest.approx(each, **EXACT)


def test_multiclass_scores_equal_r(make, refs) -> None:
    scores, expected = make("multiclass", refs["data_synthetic"]["yc"], refs["data_synthetic"]["P"]), refs["results"]["multiclass"]
    assert point("brier", scores) == pytest.approx(expected["brier_sum"], **EXACT)
    assert point("log_loss", scores) == pytest.approx(expected["logloss"], **EXACT)


def test_one_class_has_scores_but_no_skill(make) -> None:
    found = evaluate(
        make("binary", [1, 1, 1], [0.5, 0.8, 1.0]), np.ones((3, 1)), [m.name for m in PROPER.metrics(make("binary", [1], [1]))]
    )
    assert found["brier"][0] == pytest.approx((0.25 + 0.04) / 3)
    assert np.isnan(found["brier_skill"]).all()
    assert np.isnan(found["log_loss_skill"]).all()


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_the_parts_of_the_brier_score_equal_r(reference, refs, name) -> None:
    scores, expected, tolerance = reference(name), refs["results"]["corp_brier"][name], refs["suggested_tolerance"]["corp"]
    found = [point(n, scores) for n in ("brier", "brier_mcb", "brier_dsc", "brier_unc")]
    assert found == pytest.approx([expected[k] for k in ("brier", "MCB", "DSC", "UNC")], rel=0, abs=tolerance)
    assert found[0] == pytest.approx(refs["results"]["val_prob"][name]["Brier"], rel=0, abs=tolerance)


def test_the_parts_by_distinct_probabilities_equal_r(reference, refs) -> None:
    expected, found = refs["results"]["murphy_p3"], murphy(column(reference("p3"), 1))
    assert list(found) == pytest.approx([expected[k] for k in ("REL", "RES", "UNC")], rel=0, abs=1e-12)
    assert found[0] - found[1] + found[2] == pytest.approx(expected["brier"], rel=0, abs=1e-12)


def test_the_parts_of_no_sample_are_undefined(make) -> None:
    assert np.isnan(murphy(column(make("multilabel", [[np.nan]], [[0.5]]), 0))).all()


def test_the_parts_of_the_brier_score_equal_the_published_example(make, refs) -> None:
    example = refs["published"]["reliabilitydiag_corp"]
    scores = make("binary", example["y"], example["p"])
    found = [point(n, scores) for n in ("brier_mcb", "brier_dsc", "brier_unc", "brier")]
    assert found == pytest.approx([example[k] for k in ("MCB", "DSC", "UNC", "brier")], abs=1e-7)


@KINDS
def test_weighted_parts_of_the_brier_score_equal_scikit_learn(make, generated, kind) -> None:
    y, p = generated(2, kind)
    w = np.random.default_rng(2).integers(0, 4, 60)
    drawn = w > 0
    fitted = IsotonicRegression(out_of_bounds="clip").fit(p[drawn], y[drawn], sample_weight=w[drawn]).predict(p)
    mean = np.average(y, weights=w)
    brier, recalibrated, constant = (np.average((q - y) ** 2, weights=w) for q in (p, fitted, mean))
    scores = make("binary", y, p)
    expected = [brier - recalibrated, constant - recalibrated, constant]
    assert [point(n, scores, w) for n in ("brier_mcb", "brier_dsc", "brier_unc")] == pytest.approx(expected, **EXACT)
