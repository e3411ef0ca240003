"""What the Evaluation tab can show, and what it says of two results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import PredictionsError, TooLargeError
from medmm.evaluation.exchange import import_predictions
from medmm.evaluation.files import score_to_folder
from medmm.ui import cohort_tasks
from medmm.ui.evaluation_views import compared, details, empty
from medmm.ui.measured import Measured, committed, of_run
from medmm.ui.page import Page
from medmm.ui.reliability import diagram

Outlined = Callable[[str], Any]


@pytest.fixture(scope="module")
def kept() -> dict[str, Measured]:
    return committed()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    made = Page("sts51")
    yield made
    made.close()


def test_the_kept_results_are_found_with_their_predictions(kept: dict[str, Measured], tmp_path: Path) -> None:
    assert {m.results.task for m in kept.values()} == {"phantom", "lung_metastases"}
    assert all(m.predictions is not None for m in kept.values())
    assert committed(tmp_path) == {}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_results_are_shown_with_intervals_baseline_verdict_and_every_bin(
    kept: dict[str, Measured], language: Any, outline: Outlined
) -> None:
    for measured in kept.values():
        results = measured.results
        html = details(results, language)
        shown = outline(html)
        auroc = results.arms[0].metrics["auroc"]
        assert f"{auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]" in shown.text
        assert "prevalence" in shown.text
        assert "separates the classes" in shown.text
        bins = [b for c in results.arms[0].calibration.values() for b in c.bins]
        assert html.count('class="mm-bin" tabindex="0"') == len(bins)
        assert all(f"n = {b.count}" in html and f"{b.low:.1%}" in html for b in bins)


def test_a_point_of_the_diagram_stands_where_it_says(kept: dict[str, Measured]) -> None:
    judged = next(iter(kept.values())).results.arms[0].calibration.popitem()[1]
    svg = diagram(judged, "<b>")
    assert "<b>" not in svg
    places = [tuple(map(float, xy)) for xy in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    (x0, y0), (x1, y1) = places[0], places[-1]
    first, last = judged.bins[0], judged.bins[-1]
    across, upward = (x1 - x0) / (last.predicted - first.predicted), (y0 - y1) / (last.observed - first.observed)
    for (x, y), b in zip(places, judged.bins, strict=True):
        assert x == pytest.approx(x0 + across * (b.predicted - first.predicted), abs=0.2)
        assert y == pytest.approx(y0 - upward * (b.observed - first.observed), abs=0.2)


def test_two_results_are_compared_as_far_as_that_can_be(kept: dict[str, Measured], tmp_path: Path, outline: Outlined) -> None:
    phantom, lung = sorted(kept.values(), key=lambda m: m.results.task, reverse=True)
    assert "different questions" in outline(compared(phantom, lung, ("a", "b"), "en")).text
    numbers = Measured(phantom.results)
    told = outline(compared(phantom, numbers, ("<a>", "b"), "en")).text
    assert "only numbers" in told
    assert "<a>" in told
    assert phantom.predictions is not None
    import_predictions(phantom.predictions, tmp_path / "run", None)
    assert of_run(tmp_path / "run") is None
    score_to_folder(tmp_path / "run", None, None, None)
    again = of_run(tmp_path / "run")
    assert again is not None
    told = outline(compared(again, Measured(again.results, phantom.predictions), ("a", "b"), "en")).text
    assert f"{again.results.arms[0].n} samples of" in told
    assert "+0.0000 [+0.0000, +0.0000]" in told


def test_nothing_measured_says_how_to_come_to_it() -> None:
    assert "Batch" in empty("en")


def test_an_uploaded_measurement_is_read_in_the_jail_and_gone(page: Page, send: Any, kept: dict[str, Measured]) -> None:
    results = next(iter(kept.values())).results
    assert page.check_metrics(send(page.sessions, results.to_json().encode(), "metrics.json")) == results
    assert [p for p in page.sessions.root.rglob("*") if p != page.sessions.uploads] == []
    other = results.to_json().replace("medmm.metrics/", "medmm.metrics/9")
    for wrong in (b"", b"{}", b"[" * 100_000, b"\xff\xfe", other.encode()):
        with pytest.raises(PredictionsError):
            page.check_metrics(send(page.sessions, wrong, "metrics.json"))


def test_a_measurement_too_large_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_tasks, "PAGE_LIMITS", cohort_tasks.PAGE_LIMITS.__class__(metrics_bytes=10))
    (tmp_path / "upload").write_bytes(b"x" * 11)
    with pytest.raises(TooLargeError):
        cohort_tasks.check_metrics(str(tmp_path / "upload"), str(tmp_path))
