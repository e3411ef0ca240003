"""Reliability diagrams to look into: each point says what it stands for, to the pointer, the keyboard and a screen reader."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import inf

from medmm.results import Bin, Calibration
from medmm.ui.views import readable, table
from medmm.ui.words import Language, say

_SIZE, _LEFT, _BOTTOM, _TOP, _RIGHT = 320, 44, 44, 40, 12  # units of the view box
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_REACH = 12.0
_RADIUS = 3.0, 7.0  # of the emptiest and the fullest bin


def diagram(calibration: Calibration, label: str, language: Language = "en") -> str:
    """Observed against predicted frequency of one label, bin by bin with Wilson's intervals; nothing without bins.

    Args:
        calibration: Measured.
        label: Of the class.
        language: Of the page.
    """
    if not calibration.bins:
        return ""
    title = say(language, "reliability_of", label=readable(label))
    most = max(b.count for b in calibration.bins)
    reaches = _reaches([_x(b.predicted) for b in calibration.bins])
    points = "".join(_point(b, most, reach, language) for b, reach in zip(calibration.bins, reaches, strict=True))
    drawn = f'<svg viewBox="0 0 {_SIZE} {_SIZE}" role="group" aria-label="{title}">{_frame(language)}{points}</svg>'
    listed = _listed(calibration, title, language)
    return f'<figure class="mm-reliability"><figcaption>{title}</figcaption>{drawn}{listed}</figure>'


def _listed(calibration: Calibration, title: str, language: Language) -> str:
    """The points as a table: many may lie upon each other near 0 and 1."""
    columns = [say(language, f"column_{name}") for name in ("bin_count", "bin_predicted", "bin_observed", "bin_interval")]
    rows = ([str(b.count), f"{b.predicted:.1%}", f"{b.observed:.1%}", f"{b.low:.1%} – {b.high:.1%}"] for b in calibration.bins)
    return f"<details><summary>{say(language, 'reliability_table')}</summary>{table(title, columns, rows)}</details>"


def _reaches(places: Sequence[float]) -> list[tuple[float, float]]:
    """Where the pointer means each of the points, whose places rise: as far as it is the nearest, and not far from it."""
    between = [(a + b) / 2 for a, b in pairwise(places)]
    starts, ends = [-inf, *between], [*between, inf]
    return [(max(x - _REACH, a), min(x + _REACH, b)) for x, a, b in zip(places, starts, ends, strict=True)]


def _point(found: Bin, most: int, reach: tuple[float, float], language: Language) -> str:
    told = say(
        language, "reliability_bin", count=found.count, predicted=f"{found.predicted:.1%}", observed=f"{found.observed:.1%}",
        low=f"{found.low:.1%}", high=f"{found.high:.1%}",
    )  # fmt: skip
    start, end = reach
    x, y = _x(found.predicted), _y(found.observed)
    small, large = _RADIUS
    radius = small + (large - small) * (found.count / most) ** 0.5
    first, _, second = told.partition(";")
    return (
        f'<g class="mm-bin" tabindex="0" role="img" aria-label="{escape(told)}">'
        f'<rect class="mm-reach" x="{start:.1f}" y="{_TOP}" width="{end - start:.1f}" height="{_SIZE - _TOP - _BOTTOM}"/>'
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(found.low):.1f}" y2="{_y(found.high):.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text x="{_LEFT}" y="14">{escape(first)}</text><text x="{_LEFT}" y="30">{escape(second.strip())}</text>'
        f"<title>{escape(told)}</title></g>"
    )


def _frame(language: Language) -> str:
    """Axes, their ticks, and the line of being exactly right; hidden from screen readers, whose points say it in words."""
    lines = "".join(
        f'<line class="mm-grid" x1="{_x(0):.0f}" x2="{_x(1):.0f}" y1="{_y(t):.0f}" y2="{_y(t):.0f}"/>'
        f'<line class="mm-grid" x1="{_x(t):.0f}" x2="{_x(t):.0f}" y1="{_y(0):.0f}" y2="{_y(1):.0f}"/>'
        f'<text x="{_x(0) - 5:.0f}" y="{_y(t) + 4:.0f}" text-anchor="end">{t:g}</text>'
        f'<text x="{_x(t):.0f}" y="{_y(0) + 15:.0f}" text-anchor="middle">{t:g}</text>'
        for t in _TICKS
    )
    across = f'<text x="{_x(0.5):.0f}" y="{_SIZE - 8}" text-anchor="middle">{say(language, "reliability_predicted")}</text>'
    turned = f'transform="rotate(-90) translate(-{_y(0.5):.0f} 12)"'
    upward = f'<text {turned} text-anchor="middle">{say(language, "reliability_observed")}</text>'
    right = f'<line class="mm-right-line" x1="{_x(0):.0f}" y1="{_y(0):.0f}" x2="{_x(1):.0f}" y2="{_y(1):.0f}"/>'
    return f'<g aria-hidden="true">{lines}{across}{upward}{right}</g>'


def _x(share: float) -> float:
    return _LEFT + share * (_SIZE - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _SIZE - _BOTTOM - share * (_SIZE - _BOTTOM - _TOP)
