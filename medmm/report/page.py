"""`report.html` and `comparison.html`: one file each, nothing loaded from anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from medmm.report import words
from medmm.report.checklist import checklist
from medmm.report.pictures import label_pictures, overview_pictures, side_by_side
from medmm.report.sections import CALIBRATION, DECISION, SECTIONS
from medmm.report.verdict import verdict, verdict_on_runs
from medmm.results import Results, RunComparison

_THUMBNAIL_BYTES = 1 << 20
"""All thumbnails of a page together, so that it stays small enough to be mailed."""


def render_report(results: Results, thumbnails: Mapping[str, bytes] | None = None) -> str:
    """The page as text.

    Args:
        results: Content of `metrics.json`; the page shows nothing that is not in it.
        thumbnails: PNG of samples among the worst cases, by sample id.
    """
    full = results.arms[0]
    answers = checklist(results)
    return _environment().get_template("report.html.j2").render(
        results=results,
        full=full,
        verdict=verdict(results),
        sections=[s for s in SECTIONS if s.shown(results)],
        absent=[s.title for s in SECTIONS if not s.shown(results)],
        headline=words.headline_metrics(full),
        calibration_columns=words.measured_stems(full, CALIBRATION),
        decision_columns=words.measured_stems(full, DECISION),
        labels_at=words.thresholds_of(full),
        labels=label_pictures(results),
        overview=overview_pictures(results),
        thumbnails=_embedded(thumbnails or {}, [case.sample_id for case in results.worst]),
        checklist=answers,
        answered={status: sum(a.status == status for a in answers) for status in ("auto", "author", "missing")},
    )  # fmt: skip


def render_comparison(comparison: RunComparison) -> str:
    """Two runs side by side, as a page.

    Args:
        comparison: Content of `comparison.json`.
    """
    page = _environment().get_template("comparison.html.j2")
    return page.render(
        results=comparison,
        verdict=verdict_on_runs(comparison),
        headline=words.headline_metrics(comparison.arms[0]),
        pictures=side_by_side(comparison),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("medmm.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    formats: dict[str, Any] = {
        "number": words.number, "difference": words.difference, "p_value": words.p_value, "percent": words.percent,
        "interval": words.interval, "about_further": words.about_further,
    }  # fmt: skip
    environment.filters.update(formats)
    environment.globals.update(metric_of=words.metric_of, outcomes=words.OUTCOMES)
    return environment


def _embedded(thumbnails: Mapping[str, bytes], wanted: list[str]) -> dict[str, str]:
    """Data URLs of the wanted ones, as many as fit."""
    found: dict[str, str] = {}
    left = _THUMBNAIL_BYTES
    for sample in wanted:
        png = thumbnails.get(sample, b"")
        if png and len(png) <= left:
            found[sample] = "data:image/png;base64," + b64encode(png).decode()
            left -= len(png)
    return found
