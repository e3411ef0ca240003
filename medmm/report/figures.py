"""Figures as inline SVG that takes the page's own colours, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from medmm.results import Arm, Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib cannot write CSS variables, so it draws in these colours and they are swapped afterwards.
_INK, _MUTED, _LINE = "#010101", "#020202", "#030303"
_ACCENTS = ("#040404", "#050505", "#060606", "#070707")
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _LINE: "var(--line)"} | {
    colour: f"var(--accent-{i})" for i, colour in enumerate(_ACCENTS)
}
_LABEL_LENGTH = 28
_DASHES = ("solid", (0, (6, 2)), (0, (2, 2)), (0, (1, 3)))


@contextmanager
def _style() -> Iterator[None]:
    """How every figure is drawn: text stays text, of any script, and is never read as a formula."""
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "medmm", "font.family": "sans-serif", "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser brings the font
        yield


@_style()
def reliability_figure(calibration: Calibration, label: str) -> str:
    """Observed against predicted frequency with Wilson intervals, and how many samples stand where."""
    title, label = f"Reliability diagram of {label}", label if len(label) <= _LABEL_LENGTH else label[:_LABEL_LENGTH] + "..."
    figure, (axes, counts) = _figure(4.2, 4.6, rows=2, heights=(4, 1))
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=_DASHES[1])
    x = [b.predicted for b in calibration.bins]
    y = [b.observed for b in calibration.bins]
    # Wilson's interval may end a rounding error inside the point at 0 or 1.
    below = [max(b.observed - b.low, 0.0) for b in calibration.bins]
    above = [max(b.high - b.observed, 0.0) for b in calibration.bins]
    axes.errorbar(x, y, yerr=[below, above], fmt="o", color=_ACCENTS[0], markersize=5, linewidth=1.4, capsize=2)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=f"observed share of {label}")
    axes.set_xticklabels([])
    counts.vlines(x, 0, [b.count for b in calibration.bins], color=_ACCENTS[0], linewidth=2)
    counts.set(xlim=(-0.02, 1.02), ylim=(0, None), xlabel=f"predicted probability of {label}", ylabel="samples")
    return _svg(figure, title)


@_style()
def roc_figure(arms: Sequence[Arm], label: str) -> str:
    """ROC curves of all arms for one label."""
    figure, (axes,) = _figure(4.2, 4.2)
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=_DASHES[3])
    for i, arm in enumerate(arms):
        points = arm.curves[label].roc if label in arm.curves else ()
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=_ACCENTS[i % 4], linestyle=_DASHES[i % 4], linewidth=1.8, label=arm.name)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(frameon=False, loc="lower right", labelcolor=_INK)
    return _svg(figure, f"ROC curves of {label}")


@_style()
def forest_figure(arms: Sequence[Arm], metric: str) -> str:
    """One metric of every arm with its interval."""
    shown = [a for a in arms if a.metrics[metric].value is not None]
    figure, (axes,) = _figure(4.8, 0.6 + 0.4 * len(shown))
    for row, arm in enumerate(reversed(shown)):
        value = arm.metrics[metric]
        assert value.value is not None
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [row, row], color=_ACCENTS[0], linewidth=1.8, solid_capstyle="butt")
        axes.plot([value.value], [row], "o", color=_ACCENTS[0], markersize=6)
    axes.set_yticks(range(len(shown)), [a.name for a in reversed(shown)])
    axes.set(ylim=(-0.6, len(shown) - 0.4), xlabel=metric)
    return _svg(figure, f"{metric} of every arm with its interval")


def _figure(width: float, height: float, rows: int = 1, heights: Sequence[float] = (1,)) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    grid: Any = figure.subplots(rows, 1, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    axes: Sequence[Axes] = grid[:, 0]
    figure.patch.set_alpha(0)
    for one in axes:
        one.patch.set_alpha(0)
        one.grid(visible=True, color=_LINE, linewidth=0.6)
        one.tick_params(colors=_MUTED, labelsize=9)
        one.xaxis.label.set_color(_INK)
        one.yaxis.label.set_color(_INK)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            one.spines[side].set_color(_LINE)
    return figure, axes


def _svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element with a title for screen readers; the same input gives the same bytes."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[^"]*_\d+"', "", text)  # numbered alike in every figure of a page, and referred to by nothing
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", text)
    return text.replace("<svg ", '<svg role="img" aria-label="' + escape(title) + '" ', 1)
