"""`report.html`: one file, nothing loaded from anywhere."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from medmm.report.figures import forest_figure, reliability_figure, roc_figure
from medmm.report.verdict import headline_metrics, number, verdict
from medmm.results import Results

_MAX_LABELS = 6


def render_report(results: Results) -> str:
    """The page as text.

    Args:
        results: Content of `metrics.json`; the page shows nothing that is not in it.
    """
    environment = Environment(
        loader=PackageLoader("medmm.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    full = results.arms[0]
    shown = list(full.calibration)[:_MAX_LABELS]
    page = environment.get_template("report.html.j2")
    return page.render(
        results=results,
        full=full,
        verdict=verdict(results),
        headline=headline_metrics(full),
        forests=[forest_figure(results.arms, name) for name in headline_metrics(full)[:2] if full.metrics[name].value is not None],
        rocs={label: roc_figure(results.arms, label) for label in shown if full.curves[label].roc},
        diagrams={label: reliability_figure(full.calibration[label], label) for label in shown},
        left_out=len(full.calibration) - len(shown),
    )
