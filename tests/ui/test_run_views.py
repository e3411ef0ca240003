"""Pieces of the page of runs: everything said, and hostile words stay words."""

from __future__ import annotations

from pathlib import Path

import pytest

from medmm.prediction import DISCLAIMER
from medmm.ui import run_views
from medmm.ui.cases import Case
from medmm.ui.runs import Runs

CASES = (
    Case("<b>s1", "no", "yes", 0.9, "image", "", {"full": {"no": 0.1, "yes": 0.9}, "image": {"no": 0.4, "yes": 0.6}}),
    Case("s2", "yes", "yes", None, "image+text", "", {"full": {"no": 0.2, "yes": 0.8}}),
    Case("s3", "yes", "", None, "", "E_GEOMETRY", {}),
)


@pytest.fixture(scope="module")
def runs(measured) -> Runs:
    return Runs(measured)


def test_every_run_is_a_row_with_its_intervals(runs, outline) -> None:
    found = outline(run_views.runs_table(runs.matching("", "")))
    for run in runs.matching("", ""):
        auroc = run.results.arms[0].metrics["auroc"]
        assert f"{auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]" in found.text
    assert found.tags["tr",] == 3
    assert "2 shown" in found.text


def test_one_run_has_its_verdict_and_curves(runs, outline) -> None:
    html = run_views.run_details(runs.get("good").results)
    assert "better than chance" in outline(html).text
    for figure in ("ROC curves of yes", "Reliability diagram of yes"):
        assert f'aria-label="{figure}"' in html


@pytest.mark.parametrize(
    ("words", "only_wrong", "shown"),
    [
        ("", True, ["<b>s1"]),
        ("", False, ["<b>s1", "s2", "s3"]),
        ("E_GEOM", False, ["s3"]),
        ("image+text", False, ["s2"]),
        ("zz", False, []),
    ],
)
def test_cases_are_found_by_words(outline, words, only_wrong, shown) -> None:
    text = outline(run_views.cases_table(CASES, words, only_wrong=only_wrong)).text
    assert [c.sample_id for c in CASES if f" {c.sample_id} " in f" {text} "] == shown
    assert f"{len(shown)} of {len(shown)} samples" in text


def test_of_many_cases_the_first_are_shown_and_the_rest_counted(outline) -> None:
    many = tuple(Case(f"s{i}", "no", "yes", 0.9, "", "", {}) for i in range(250))
    assert "100 of 250 samples" in outline(run_views.cases_table(many, "", only_wrong=True)).text


def test_a_run_without_predictions_says_so(outline) -> None:
    assert "not at hand" in outline(run_views.cases_table((), "", only_wrong=True)).text


def test_a_case_shows_what_each_set_of_inputs_said(outline) -> None:
    found = outline(run_views.case_details(CASES, "<b>s1"))
    assert "90.0" in found.text
    assert "60.0" in found.text
    assert ("b",) not in found.tags
    assert "E_GEOMETRY" in run_views.case_details(CASES, "s3")
    assert "No such sample" in run_views.case_details(CASES, "s9")
    assert "Type the id" in run_views.case_details(CASES, "")


def test_two_runs_stand_side_by_side(runs, outline) -> None:
    first, second = runs.get("good"), runs.get("nested/poor")
    html = run_views.side_by_side(first, second)
    for run in (first, second):
        assert run.name in outline(html).text
        assert f"{run.results.arms[0].metrics['auroc'].value:.3f}" in html
    assert 'aria-label="ROC curves of yes"' in html
    assert "different questions" not in html


def test_two_runs_are_paired_on_the_samples_both_answered(runs, outline) -> None:
    found = runs.compare("good", "nested/poor")
    auroc = next(c for c in found.comparisons if c.metric == "auroc")
    alone = [runs.get(name).results.arms[0].metrics["auroc"].value for name in ("good", "nested/poor")]
    assert found.n == 40
    assert auroc.difference == pytest.approx(alone[0] - alone[1])
    shown = outline(run_views.paired(found))
    assert "40 samples of 40 patients that both answered" in shown.text
    assert f"{auroc.difference:+.4f} [{auroc.low:+.4f}, {auroc.high:+.4f}]" in shown.text
    assert shown.tags["tr",] == 1 + len(found.comparisons)


def test_runs_of_different_questions_are_told_apart(runs) -> None:
    other = Runs(Path(__file__).parents[2] / "eval" / "results").get("sts51/0.1.0/lung_metastases")
    assert "Their labels differ" in run_views.side_by_side(runs.get("good"), other)


def test_the_banner_says_what_this_is_not(outline) -> None:
    assert DISCLAIMER in outline(run_views.banner()).text
