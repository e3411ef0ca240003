"""Subgroups, patterns and sites against numbers worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from statsmodels.stats.meta_analysis import combine_effects

from medmm.errors import TaskError
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.store import Record

N = 240


@pytest.fixture(scope="module")
def cohort():
    """Binary rows of 240 patients in three sites; the model is good for women, poor for men, older people are rare."""
    rng = np.random.default_rng(0)
    y, sex = rng.integers(0, 2, N), rng.integers(0, 2, N)
    p = 1 / (1 + np.exp(-(rng.normal(size=N) + (2 * y - 1) * np.where(sex, 2.0, 0.3))))
    age = np.where(np.arange(N) < 12, 80, 30 + np.arange(N) % 30)
    return [
        Record(
            f"s{i}", f"p{i}", i, "full", "", ("image", "image+text")[i % 3 == 0], (1.0 - y[i], float(y[i])), (1 - p[i], p[i]),
            columns={"sex": "fm"[1 - sex[i]], "age": str(age[i]) if i % 10 else "", "site": f"h{i % 3}"},
        )
        for i in range(N)
    ]  # fmt: skip


def results_of(cohort, **more):
    task = Task(
        name="t", intervals={"replicates": 200}, subgroups={"min_n": 30, "min_events": 5} | more.pop("subgroups", {}), **more
    )
    return score(Predictions("binary", ("no", "yes"), tuple(cohort), {"type": "test"}), task)


def arrays(rows):
    return [r.target[1] for r in rows], [r.probability[1] for r in rows]


def test_the_pattern_of_modalities_is_always_a_subgroup(cohort) -> None:
    found = results_of(cohort).groups
    assert [(g.column, g.value, g.n) for g in found] == [("pattern", "image", 160), ("pattern", "image+text", 80)]
    for group in found:
        expected = sk.roc_auc_score(*arrays([r for r in cohort if r.pattern == group.value]))
        assert group.metrics["auroc"].value == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_gap_is_best_minus_worst_with_an_interval_of_the_same_draws(cohort) -> None:
    results = results_of(cohort, subgroups={"columns": ["sex"]})
    women, men = (sk.roc_auc_score(*arrays([r for r in cohort if r.columns["sex"] == s])) for s in "fm")
    gap = next(g for g in results.gaps if (g.column, g.metric) == ("sex", "auroc"))
    assert (gap.best, gap.worst) == ("f", "m")
    assert gap.gap.value == pytest.approx(women - men, rel=0, abs=1e-12)
    assert gap.gap.low < women - men < gap.gap.high
    loss = next(g for g in results.gaps if (g.column, g.metric) == ("sex", "log_loss"))
    assert (loss.best, loss.worst) == ("f", "m")
    assert loss.gap.value > 0


def test_numbers_are_cut_into_bands_and_missing_ones_said(cohort) -> None:
    groups = [
        g for g in results_of(cohort, subgroups={"columns": [{"column": "age", "bands": [40, 65]}]}).groups if g.column == "age"
    ]
    assert [g.value for g in groups] == ["<40", "40-65", ">=65", "not stated"]
    assert sum(g.n for g in groups) == N
    assert [g.n for g in groups][2:] == [10, 24]
    assert groups[0].n == sum(bool(r.columns["age"]) and int(r.columns["age"]) < 40 for r in cohort)


def test_what_is_too_small_is_counted_and_withheld(cohort) -> None:
    groups = {g.value: g for g in results_of(cohort, subgroups={"columns": [{"column": "age", "bands": [40, 65]}]}).groups}
    old = groups[">=65"]
    assert (old.metrics, old.suppressed) == ({}, "fewer than 30 samples")
    assert sum(old.positives.values()) == old.n
    one_sided = [r for r in cohort if r.target[1] or r.columns["sex"] == "f"]
    men = next(g for g in results_of(one_sided, subgroups={"columns": ["sex"]}).groups if g.value == "m")
    assert men.suppressed == "fewer than 5 samples with and without any label"


def test_sites_are_combined_as_statsmodels_combines_them(cohort) -> None:
    results = results_of(cohort, unit={"site": "site"})
    found = next(h for h in results.heterogeneity if h.metric == "brier")
    groups = [g.metrics["brier"] for g in results.groups if g.column == "site"]
    assert (found.sites, found.scale, len(groups)) == (3, "identity", 3)
    errors = [np.array([(r.probability[1] - r.target[1]) ** 2 for r in cohort if r.columns["site"] == f"h{k}"]) for k in range(3)]
    peer = combine_effects(
        np.array([e.mean() for e in errors]), np.array([e.var() / len(e) for e in errors]), method_re="iterated", use_t=True
    )
    assert found.mean.value == pytest.approx(peer.mean_effect_re, abs=0.003)  # their variances are the bootstrap's
    assert found.tau**2 == pytest.approx(peer.tau2, abs=0.001)
    assert found.prediction_low < found.mean.low < found.mean.value < found.mean.high < found.prediction_high


def test_shares_are_combined_on_the_logit_scale_and_stay_shares(cohort) -> None:
    found = next(h for h in results_of(cohort, unit={"site": "site"}).heterogeneity if h.metric == "auroc")
    assert (found.scale, found.sites) == ("logit", 3)
    assert 0 < found.prediction_low < found.mean.value < found.prediction_high < 1


def test_one_site_tells_nothing_of_differences(cohort) -> None:
    lone = [r for r in cohort if r.columns["site"] == "h0"]
    for found in results_of(lone, unit={"site": "site"}).heterogeneity:
        assert (found.sites, found.mean.value, found.tau) == (1, None, None)
        assert "two sites" in found.mean.reason


def test_a_column_that_is_not_there_or_holds_no_numbers_is_refused(cohort) -> None:
    with pytest.raises(TaskError, match="Did you mean 'sex'"):
        results_of(cohort, subgroups={"columns": ["sec"]})
    with pytest.raises(TaskError, match="numbers"):
        results_of(cohort, subgroups={"columns": [{"column": "sex", "bands": [1]}]})
    with pytest.raises(ValueError, match="bands must rise"):
        Task(name="t", subgroups={"columns": [{"column": "age", "bands": [60, 40]}]})


def test_the_metrics_of_groups_can_be_chosen(cohort) -> None:
    results = results_of(cohort, subgroups={"columns": ["sex"], "metrics": ["f1", "sensitivity"]})
    assert set(results.groups[0].metrics) == {"f1_macro", "f1[no]", "f1[yes]", "sensitivity[yes]"}
