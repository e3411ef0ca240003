"""Families made from functions, and the names they give."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import Metric, PerLabel, Single
from medmm.metrics.family import label_name, macro_name

TEMPLATE = Metric("gap[mean]", "lower", "needs a sample", 0, 1, null=True)


def mean_gap(scores, weights):
    """(1, L, R)."""
    return np.stack([[scores.probability[:, k] @ weights / weights.sum(0) for k in scores.positives]])


@pytest.mark.parametrize(
    ("name", "of_label", "macro"),
    [("auroc", "auroc[a]", "auroc_macro"), ("ece[equal_width,15]", "ece[a,equal_width,15]", "ece_macro[equal_width,15]")],
)
def test_names_carry_the_label_before_the_parameters(name, of_label, macro) -> None:
    assert (label_name(name, "a"), macro_name(name)) == (of_label, macro)


def test_a_binary_task_has_one_value_without_a_label(make) -> None:
    scores = make("binary", [0, 1], [0.2, 0.4])
    family = PerLabel((TEMPLATE,), mean_gap)
    assert family.metrics(scores) == (TEMPLATE,)
    assert family.batch(scores, np.ones((2, 1))) == pytest.approx(np.array([[0.3]]))


def test_other_tasks_have_the_mean_over_defined_labels_and_each(make) -> None:
    scores = make("multilabel", np.eye(2), [[0.2, 0.5], [0.4, 0.7]])
    family = PerLabel((TEMPLATE,), lambda s, w: np.where([[[False], [True]]], np.nan, mean_gap(s, w)))
    metrics = family.metrics(scores)
    assert [m.name for m in metrics] == ["gap_macro[mean]", "gap[a,mean]", "gap[b,mean]"]
    assert all(m.null and m.better == "lower" and m.high == 1 for m in metrics)
    assert family.batch(scores, np.ones((2, 1)))[:, 0] == pytest.approx([0.3, 0.3, np.nan], nan_ok=True)


def test_a_single_metric_is_a_family(make) -> None:
    family = Single(TEMPLATE, lambda scores, weights: weights.sum(0))
    assert family.metrics(make("binary", [0], [0.5])) == (TEMPLATE,)
    assert family.batch(make("binary", [0], [0.5]), np.array([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]
