"""Held against scikit-learn to 1e-12 on generated samples, with ties, weights and absent classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from medmm.metrics import catalogue, classification, evaluate, one_hot, point
from medmm.types import FloatArray

EXACT = {"rel": 0, "abs": 1e-12}
PROBABILITY = st.one_of(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 1, width=32))
WEIGHT = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0])  # how often a patient was drawn
generated = settings(max_examples=80, deadline=None, derandomize=True)
# scikit-learn warns of what we report as undefined, or where it averages over less.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:y_pred contains classes", "ignore:A single label was found"
)


def rows(classes: int) -> st.SearchStrategy[list[tuple[int, FloatArray, float]]]:
    """Samples as (class, probabilities, weight)."""
    p = st.lists(PROBABILITY.map(lambda v: v + 0.01), min_size=classes, max_size=classes).map(lambda v: np.array(v) / sum(v))
    return st.lists(st.tuples(st.integers(0, classes - 1), p, WEIGHT), min_size=1, max_size=40)


def values(scores: Any, w: FloatArray) -> dict[str, float]:
    """Every metric of the catalogue at one column of weights."""
    return {name: float(found[0]) for name, found in evaluate(scores, w[:, None]).items()}


@generated
@given(samples=st.lists(st.tuples(st.integers(0, 1), PROBABILITY, WEIGHT), min_size=1, max_size=40))
def test_binary_metrics_equal_scikit_learn(make, samples) -> None:
    y, p, w = (np.array(column, dtype=float) for column in zip(*samples, strict=True))
    ours = values(make("binary", y, p), w)
    y, p, w = y[w > 0], p[w > 0], w[w > 0]
    if not len(y):
        assert np.isnan(list(ours.values())).all()
        return
    called, weighted = p >= 0.5, {"sample_weight": w}
    both = len(set(y)) == 2
    assert ours["auroc"] == pytest.approx(sk.roc_auc_score(y, p, **weighted) if both else np.nan, **EXACT, nan_ok=True)
    assert ours["auprc"] == pytest.approx(sk.average_precision_score(y, p, **weighted) if y.any() else np.nan, **EXACT, nan_ok=True)
    for average in ("macro", "micro", "weighted"):
        assert ours[f"f1_{average}"] == pytest.approx(sk.f1_score(y, called, average=average, **weighted), **EXACT)
    each = sk.f1_score(y, called, average=None, labels=[0, 1], zero_division=np.nan, **weighted)
    assert [ours["f1[a]"], ours["f1[b]"]] == pytest.approx(each, **EXACT, nan_ok=True)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(y, called, **weighted), **EXACT)
    assert ours["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, called, **weighted), **EXACT)
    if both and len(set(called)) == 2:
        assert ours["mcc"] == pytest.approx(sk.matthews_corrcoef(y, called, **weighted), **EXACT)
        assert ours["kappa"] == pytest.approx(sk.cohen_kappa_score(y, called, **weighted), **EXACT)
        up, down = sk.class_likelihood_ratios(y, called, replace_undefined_by=np.nan, **weighted)
        assert [ours["lr_positive[b]"], ours["lr_negative[b]"]] == pytest.approx([up, down], rel=1e-12, nan_ok=True)
    else:
        assert np.isnan(ours["mcc"])
    assert ours["prevalence[b]"] == pytest.approx(np.average(y, weights=w), **EXACT)
    rates = {"zero_division": np.nan, **weighted}
    assert ours["sensitivity[b]"] == pytest.approx(sk.recall_score(y, called, **rates), **EXACT, nan_ok=True)
    assert ours["specificity[b]"] == pytest.approx(sk.recall_score(y, called, pos_label=0, **rates), **EXACT, nan_ok=True)
    assert ours["precision[b]"] == pytest.approx(sk.precision_score(y, called, **rates), **EXACT, nan_ok=True)
    assert ours["npv[b]"] == pytest.approx(sk.precision_score(y, called, pos_label=0, **rates), **EXACT, nan_ok=True)
    youden = ours["sensitivity[b]"] + ours["specificity[b]"] - 1
    assert ours["youden[b]"] == pytest.approx(youden, **EXACT, nan_ok=True)


@generated
@given(samples=rows(4))
def test_multiclass_metrics_equal_scikit_learn(make, samples) -> None:
    y, p, w = (np.array(column) for column in zip(*samples, strict=True))
    ours = values(make("multiclass", y, p), w)
    y, p, w = y[w > 0], p[w > 0], w[w > 0]
    if not len(y):
        assert np.isnan(list(ours.values())).all()
        return
    called, weighted = p.argmax(1), {"sample_weight": w}
    for k, label in enumerate("abcd"):
        hit, occurs, both = y == k, (y == k).any(), 0 < (y == k).sum() < len(y)
        assert ours[f"auroc[{label}]"] == pytest.approx(
            sk.roc_auc_score(hit, p[:, k], **weighted) if both else np.nan, **EXACT, nan_ok=True
        )
        assert ours[f"auprc[{label}]"] == pytest.approx(
            sk.average_precision_score(hit, p[:, k], **weighted) if occurs else np.nan, **EXACT, nan_ok=True
        )
    if len(set(y)) == 4:
        assert ours["auroc_macro"] == pytest.approx(sk.roc_auc_score(one_hot(y, 4), p, average="macro", **weighted), **EXACT)
        assert ours["auprc_macro"] == pytest.approx(sk.average_precision_score(one_hot(y, 4), p, **weighted), **EXACT)
    for average in ("macro", "micro", "weighted"):
        assert ours[f"f1_{average}"] == pytest.approx(sk.f1_score(y, called, average=average, **weighted), **EXACT)
    if len(set(y)) > 1 and len(set(called)) > 1:
        assert ours["mcc"] == pytest.approx(sk.matthews_corrcoef(y, called, **weighted), **EXACT)
        assert ours["kappa"] == pytest.approx(sk.cohen_kappa_score(y, called, **weighted), **EXACT)
    assert ours["accuracy"] == ours["f1_micro"] == pytest.approx(sk.accuracy_score(y, called, **weighted), **EXACT)
    assert ours["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, called, **weighted), **EXACT)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("decimals", [1, 16])
def test_multilabel_metrics_equal_scikit_learn_on_the_known_labels(make, seed, decimals) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random((70, 3)).round(decimals)
    target = (rng.random((70, 3)) < p).astype(float)
    target[rng.random((70, 3)) < 0.3] = np.nan
    ours = values(make("multilabel", target, p), np.ones(70))
    for k, label in enumerate("abc"):
        known = ~np.isnan(target[:, k])
        y, q = target[known, k], p[known, k]
        assert ours[f"auroc[{label}]"] == pytest.approx(sk.roc_auc_score(y, q), **EXACT)
        assert ours[f"auprc[{label}]"] == pytest.approx(sk.average_precision_score(y, q), **EXACT)
        assert ours[f"f1[{label}]"] == pytest.approx(sk.f1_score(y, q >= 0.5), **EXACT)
        assert ours[f"specificity[{label}]"] == pytest.approx(sk.recall_score(y, q >= 0.5, pos_label=0), **EXACT)
    for name in ("auroc", "auprc", "f1"):
        assert ours[f"{name}_macro"] == pytest.approx(np.mean([ours[f"{name}[{c}]"] for c in "abc"]), **EXACT)
    flat = ~np.isnan(target)
    assert ours["f1_micro"] == pytest.approx(sk.f1_score(target[flat], p[flat] >= 0.5), **EXACT)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(target[flat], p[flat] >= 0.5), **EXACT)


def test_complete_multilabel_metrics_equal_scikit_learn(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.random((60, 4))
    target = (rng.random((60, 4)) < p).astype(float)
    ours = values(make("multilabel", target, p), np.ones(60))
    for average in ("macro", "micro", "weighted"):
        assert ours[f"f1_{average}"] == pytest.approx(sk.f1_score(target, p >= 0.5, average=average), **EXACT)
    assert ours["auroc_macro"] == pytest.approx(sk.roc_auc_score(target, p, average="macro"), **EXACT)
    samples = (target.sum(1) > 0) | (p >= 0.5).any(1)  # scikit-learn counts the others as 0
    assert ours["f1_samples"] == pytest.approx(sk.f1_score(target[samples], p[samples] >= 0.5, average="samples"), **EXACT)
    for label, k in (("a", 0), ("d", 3)):
        assert ours[f"mcc[{label}]"] == pytest.approx(sk.matthews_corrcoef(target[:, k], p[:, k] >= 0.5), **EXACT)
        assert ours[f"kappa[{label}]"] == pytest.approx(sk.cohen_kappa_score(target[:, k], p[:, k] >= 0.5), **EXACT)
    for name, score in (("precision", sk.precision_score), ("sensitivity", sk.recall_score)):
        assert ours[f"{name}_macro"] == pytest.approx(score(target, p >= 0.5, average="macro"), **EXACT)
    rates = [sk.balanced_accuracy_score(target[:, k], p[:, k] >= 0.5) for k in range(4)]
    assert ours["balanced_accuracy"] == pytest.approx(np.mean(rates), **EXACT)


@pytest.mark.parametrize(("name", "column"), [("p1", "p1"), ("p2", "p2"), ("p3_ties", "p3")])
def test_auroc_equals_r_proc(make, refs, name, column) -> None:
    data, tolerance = refs["data_synthetic"], refs["suggested_tolerance"]["auc"]
    found = values(make("binary", data["y"], data[column]), np.ones(400))["auroc"]
    assert found == pytest.approx(refs["results"]["syn_roc"][name]["auc"], rel=0, abs=tolerance)


def test_one_against_rest_auroc_equals_r_proc(make, refs) -> None:
    data = refs["data_synthetic"]
    found = values(make("multiclass", data["yc"], data["P"]), np.ones(300))
    expected, tolerance = refs["results"]["multiclass"]["ovr_auc"], refs["suggested_tolerance"]["auc"]
    assert [found[f"auroc[{c}]"] for c in "abc"] == pytest.approx(expected, rel=0, abs=tolerance)


def test_rates_at_a_threshold_equal_r_epir(make, refs, inference_refs) -> None:
    data, expected = refs["data_synthetic"], refs["results"]["epi_tests_p1_thr0.5"]
    scores = make("binary", data["y"], data["p1"])
    counts = classification.counts(scores, np.ones((400, 1)))
    assert [int(getattr(counts, n)[1, 0]) for n in ("tp", "fp", "fn", "tn")] == [expected[n] for n in ("tp", "fp", "fn", "tn")]
    ours = values(scores, np.ones(400))
    for name in ("sensitivity", "specificity", "precision"):
        assert ours[f"{name}[b]"] == pytest.approx(expected[name], **EXACT)
    assert ours["accuracy"] == pytest.approx(expected["accuracy"], **EXACT)
    table = inference_refs["table_p1_at_0.5"]
    theirs = {"youden": "youden", "npv": "pv.neg", "lr_positive": "lr.pos", "lr_negative": "lr.neg", "dor": "diag.or"}
    for name, statistic in theirs.items():
        assert ours[f"{name}[b]"] == pytest.approx(table[statistic][0], rel=1e-12), name


def test_predictive_values_at_a_stated_prevalence_follow_bayes(make) -> None:
    y, p = np.repeat([1, 1, 0, 0], [8, 2, 3, 27]), np.repeat([0.9, 0.1, 0.9, 0.1], [8, 2, 3, 27])
    scores = replace(make("binary", y, p), prevalence=(0.99, 0.01))
    found = values(scores, np.ones(40))
    assert found["precision_at_prevalence[b,0.01]"] == pytest.approx(0.8 * 0.01 / (0.8 * 0.01 + 0.1 * 0.99))
    assert found["npv_at_prevalence[b,0.01]"] == pytest.approx(0.9 * 0.99 / (0.9 * 0.99 + 0.2 * 0.01))
    here = replace(make("binary", y, p), prevalence=(0.75, 0.25))
    assert values(here, np.ones(40))["precision_at_prevalence[b,0.25]"] == pytest.approx(found["precision[b]"])
    assert not any("at_prevalence" in name for name in values(make("binary", y, p), np.ones(40)))


@pytest.mark.parametrize(("y", "p", "auroc", "auprc"), [([0, 1], [0.3, 0.3], 0.5, 0.5), ([0, 1, 1], [0.1, 0.5, 0.9], 1.0, 1.0)])
def test_ties_count_half_and_a_perfect_order_is_one(make, y, p, auroc, auprc) -> None:
    ours = values(make("binary", y, p), np.ones(len(y)))
    assert (ours["auroc"], ours["auprc"]) == (auroc, auprc)


def test_what_a_sample_cannot_tell_is_undefined_and_never_zero(make) -> None:
    scores = make("binary", [0, 0, 0], [0.1, 0.2, 0.3])
    undefined = {m.name: m.undefined for _, family in catalogue(scores) for m in family if np.isnan(point(m.name, scores))}
    assert undefined["auroc"] == undefined["cal_in_the_large"] == "needs both classes among the samples"
    assert undefined["auprc"] == undefined["sensitivity[b]"] == "the class does not occur"
    assert undefined["precision[b]"] == "the class is never called"
    assert undefined["f1[b]"] == "the class neither occurs nor is called"
    assert set(undefined) >= {
        "auroc", "auprc", "cal_slope", "cal_intercept", "cal_in_the_large", "f1[b]", "sensitivity[b]", "precision[b]",
        "mcc", "kappa", "youden[b]", "lr_positive[b]", "lr_negative[b]", "dor[b]",
    }  # fmt: skip
