"""Numbers as words: never without their doubt, never made up."""

from __future__ import annotations

import pytest

from medmm.report.words import difference, equals, headline_metrics, metric_of, number, p_value, percent, thresholds_of
from medmm.results import Comparison, Value


def test_numbers_come_with_their_interval_or_not_at_all() -> None:
    assert number(Value(value=0.12345, low=0.1, high=0.2, better="lower")) == "0.123 [0.100, 0.200]"
    assert number(Value(value=0.12345, better="lower"), 4) == "0.1235"
    assert number(Value(value=None, reason="x", better="lower")) == number(None) == "undefined"


def test_differences_have_their_sign() -> None:
    found = Comparison(first="a", second="b", metric="auroc", n=9, difference=0.05, low=-0.1, high=0.2, excludes_zero=False)
    assert difference(found) == "+0.050 [-0.100, +0.200]"
    assert difference(found.model_copy(update={"difference": None})) == "undefined"


def test_small_p_values_are_not_zero() -> None:
    assert (p_value(1e-9), p_value(0.0312), p_value(None)) == ("< 0.001", "0.031", "-")
    assert (equals(1e-9), equals(0.5)) == ("< 0.001", "= 0.5")


def test_shares_are_in_percent() -> None:
    assert percent(0.125).split() == ["12.5", "%"]
    assert percent(None) == "-"


def test_headlines_are_macro_where_there_are_several_classes(results_of) -> None:
    assert headline_metrics(results_of().arms[0]) == ["auroc", "f1_macro", "auprc", "brier", "log_loss"]
    assert headline_metrics(results_of("multiclass").arms[0])[::2] == ["auroc_macro", "auprc_macro", "log_loss"]


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_metric_of_a_label_is_found_by_its_stem(results_of, kind) -> None:
    arm = results_of(kind).arms[0]
    names = {"binary": ("b", "auroc", "ece[equal_width,15]"), "multilabel": ("a", "auroc[a]", "ece[a,equal_width,15]")}
    label, auroc, error = names[kind]
    assert metric_of(arm, "auroc", label) is arm.metrics[auroc]
    assert metric_of(arm, "ece[equal_width,15]", label) is arm.metrics[error]
    assert metric_of(arm, "sensitivity", label) is arm.metrics[f"sensitivity[{label}]"]


def test_a_mean_over_labels_is_not_taken_for_one_of_them(results_of) -> None:
    assert metric_of(results_of("multilabel").arms[0], "accuracy", "a") is None


def test_every_label_has_its_threshold_or_none_has(results_of) -> None:
    fixed = {"policy": "fixed", "value": 0.25}
    assert thresholds_of(results_of(thresholds=fixed).arms[0]) == {"b": 0.25}
    assert thresholds_of(results_of("multilabel", thresholds=fixed).arms[0]) == dict.fromkeys("abcde", 0.25)
    assert thresholds_of(results_of("multiclass").arms[0]) == {}
