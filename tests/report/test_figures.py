"""Figures: readable by everybody, in the colours of the page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from medmm.report.figures import (
    decision_figure,
    forest_figure,
    precision_figure,
    reliability_figure,
    risk_coverage_figure,
    robustness_figure,
    roc_figure,
)
from medmm.results import Value

POINTS = ((0.1, 0.3, 0.2), (0.5, 0.1, -0.2))


@pytest.fixture(params=["reliability", "roc", "precision", "decision", "risk", "robustness", "forest"])
def figure(request, rich_of) -> str:
    results = rich_of()
    full = results.arms[0]
    seen = full.model_copy(update={"curves": {"b": full.curves["b"].model_copy(update={"pr": ((0.0, 1.0), (1.0, 0.4))})}})
    return {
        "reliability": lambda: reliability_figure(full.calibration["b"], "b", full.curves["b"].smooth),
        "roc": lambda: roc_figure(results.arms, "b"),
        "precision": lambda: precision_figure((seen,), "b"),
        "decision": lambda: decision_figure(full.curves["b"].net_benefit, "b", 0.5),
        "risk": lambda: risk_coverage_figure({"full": full.risk_coverage}),
        "robustness": lambda: robustness_figure(results.robustness[0]),
        "forest": lambda: forest_figure(values(results.arms, "auroc"), "auroc of arms", reference=0.5),
    }[request.param]()


def values(arms, metric) -> dict[str, Value]:
    return {arm.name: arm.metrics[metric] for arm in arms}


def words(figure) -> list[str | None]:
    return [element.text for element in ElementTree.fromstring(figure).iter() if element.tag.endswith("text")]


def test_a_figure_is_well_formed_and_named_for_screen_readers(figure) -> None:
    root = ElementTree.fromstring(figure)
    assert root.get("role") == "img"
    assert len(root.get("aria-label").split()) > 3


def test_a_figure_has_no_colour_of_its_own(figure) -> None:
    assert set(re.findall(r"#0\d0\d0\d", figure)) == set()
    assert "var(--ink)" in figure
    assert "var(--accent-0)" in figure


def test_no_two_elements_of_a_figure_share_an_id(figure) -> None:
    ids = re.findall(r' id="([^"]*)"', figure)
    assert len(set(ids)) == len(ids)


def test_a_figure_is_the_same_every_time(results_of) -> None:
    calibration = results_of().arms[0].calibration["b"]
    assert reliability_figure(calibration, "b") == reliability_figure(calibration, "b")


@pytest.mark.parametrize(
    "label", [r"$\frac{", "結節", "<b>&", "fill: #010101", "a" * 90], ids=["formula", "script", "markup", "colour", "long"]
)
def test_any_label_can_be_drawn(results_of, label) -> None:
    drawn = reliability_figure(results_of().arms[0].calibration["b"], label)
    assert f"observed share of {label if len(label) < 28 else label[:28] + '...'}" in words(drawn)
    assert ElementTree.fromstring(drawn).get("aria-label") == f"Reliability diagram of {label}"


def test_every_arm_is_in_the_legend_and_the_forest(results_of) -> None:
    arms = results_of().arms
    for drawn in (roc_figure(arms, "b"), forest_figure(values(arms, "auroc"), "auroc")):
        assert {arm.name for arm in arms} <= set(words(drawn))


def test_a_row_without_a_value_is_left_out(results_of) -> None:
    arms = results_of().arms
    assert arms[-1].metrics["cal_slope"].value is None
    assert arms[-1].name not in words(forest_figure(values(arms, "cal_slope"), "cal_slope"))


def test_chance_in_a_precision_recall_plot_is_the_prevalence(results_of) -> None:
    full = results_of().arms[0]
    seen = full.model_copy(update={"curves": {"b": full.curves["b"].model_copy(update={"pr": ((0.0, 1.0), (1.0, 0.37))})}})
    assert "prevalence 0.37" in words(precision_figure((seen,), "b"))


def test_a_threshold_outside_the_decision_curve_is_not_drawn() -> None:
    assert "threshold in use" in words(decision_figure(POINTS, "b", 0.3))
    assert "threshold in use" not in words(decision_figure(POINTS, "b", 0.7))
    assert "threshold in use" not in words(decision_figure(POINTS, "b", None))


def test_levels_without_a_value_are_left_out_of_a_robustness_curve(rich_of) -> None:
    assert "typos (share of words)" in words(robustness_figure(rich_of().robustness[1]))
