"""The catalogue: names, and what every metric in it must keep to."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import catalogue, point

KINDS = pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])


@pytest.fixture
def sample(make):
    """(kind, order of rows) to scores of 80 generated samples with ties."""

    def build(kind, rows=slice(None)):
        rng = np.random.default_rng(0)
        if kind == "binary":
            return make(kind, (rng.random(80) < 0.4)[rows], rng.random(80).round(1)[rows])
        if kind == "multiclass":
            return make(kind, rng.integers(0, 3, 80)[rows], rng.dirichlet([1] * 3, 80)[rows])
        return make(kind, (rng.random((80, 3)) < 0.4)[rows], rng.random((80, 3)).round(1)[rows])

    return build


def test_a_binary_task_is_scored_by_the_names_the_documents_state(sample) -> None:
    assert [m.name for m in catalogue(sample("binary"))] == [
        "f1_macro", "auroc", "auprc", "brier", "log_loss", "ece[equal_width,15]", "ece[equal_mass,10]",
        "cal_slope", "cal_intercept", "cal_in_the_large", "balanced_accuracy", "accuracy", "f1_micro", "f1_weighted",
        "f1[a]", "f1[b]", "sensitivity[b]", "specificity[b]", "precision[b]",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_other_tasks_have_a_macro_average_and_one_value_a_label(sample, kind) -> None:
    names = {m.name for m in catalogue(sample(kind))}
    assert {"auroc_macro", "auroc[a]", "auroc[c]", "ece_macro[equal_width,15]", "ece[a,equal_mass,10]", "cal_slope[b]"} <= names


@KINDS
def test_names_are_unique(sample, kind) -> None:
    names = [m.name for m in catalogue(sample(kind))]
    assert len(set(names)) == len(names)


@KINDS
def test_no_metric_depends_on_the_order_of_the_rows(sample, kind) -> None:
    scores, shuffled = sample(kind), sample(kind, np.random.default_rng(1).permutation(80))
    for metric in catalogue(scores):
        assert point(metric, scores) == pytest.approx(point(metric, shuffled), rel=1e-9, abs=1e-12), metric.name


@KINDS
def test_only_decision_metrics_depend_on_the_decisions(sample, kind) -> None:
    scores = sample(kind)
    turned = type(scores)(kind, scores.labels, scores.target, scores.probability, scores.called[:, ::-1], scores.cluster)
    for metric in catalogue(scores):
        if not metric.decision:
            assert point(metric, scores) == pytest.approx(point(metric, turned), nan_ok=True), metric.name
    assert any(point(m, scores) != point(m, turned) for m in catalogue(scores) if m.decision)


@KINDS
def test_replicates_are_computed_one_by_one(sample, kind) -> None:
    scores = sample(kind)
    drawn = np.random.default_rng(2).integers(0, 3, (80, 5)).astype(float)
    for metric in catalogue(scores):
        together, apart = metric.compute(scores, drawn), [metric.compute(scores, drawn[:, [r]])[0] for r in range(5)]
        assert together == pytest.approx(apart, rel=1e-9, abs=1e-12, nan_ok=True), metric.name


@KINDS
def test_better_says_which_way_is_better(make, kind) -> None:
    classes = np.array([0, 1, 2] * 10)
    target = {"binary": classes == 1, "multiclass": classes, "multilabel": np.eye(3)[classes]}[kind]
    p = 0.98 * (np.eye(3)[classes] if kind == "multiclass" else target) + 0.02 / 3
    right, wrong = make(kind, target, p), make(kind, target, np.roll(p, 1, axis=1) if kind == "multiclass" else 1 - p)
    for metric in catalogue(right):
        if metric.better != "target":
            assert (point(metric, right) > point(metric, wrong)) is (metric.better == "higher"), metric.name
