"""Figures: readable by everybody, in the colours of the page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from medmm.report.figures import forest_figure, reliability_figure, roc_figure


@pytest.fixture(params=["reliability", "roc", "forest"])
def figure(request, results_of) -> str:
    arms = results_of().arms
    return {
        "reliability": lambda: reliability_figure(arms[0].calibration["b"], "b"),
        "roc": lambda: roc_figure(arms, "b"),
        "forest": lambda: forest_figure(arms, "auroc"),
    }[request.param]()


def test_a_figure_is_well_formed_and_named_for_screen_readers(figure) -> None:
    root = ElementTree.fromstring(figure)
    assert root.get("role") == "img"
    assert " of " in root.get("aria-label")


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


@pytest.mark.parametrize("label", [r"$\frac{", "結節", "<b>&", "a" * 90], ids=["formula", "script", "markup", "long"])
def test_any_label_can_be_drawn(results_of, label) -> None:
    root = ElementTree.fromstring(reliability_figure(results_of().arms[0].calibration["b"], label))
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert f"observed share of {label if len(label) < 28 else label[:28] + '...'}" in words
    assert root.get("aria-label") == f"Reliability diagram of {label}"


def test_every_arm_is_in_the_legend_and_the_forest(results_of) -> None:
    arms = results_of().arms
    for drawn in (roc_figure(arms, "b"), forest_figure(arms, "auroc")):
        for arm in arms:
            assert f">{arm.name}<" in drawn


def test_an_arm_without_a_value_is_left_out(results_of) -> None:
    arms = results_of().arms
    assert arms[-1].metrics["cal_slope"].value is None
    assert f">{arms[-1].name}<" not in forest_figure(arms, "cal_slope")
