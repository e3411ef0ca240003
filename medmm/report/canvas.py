"""What figures are drawn on: SVG that takes the page's own colours, light or dark, and its fonts."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib cannot write CSS variables, so it draws in these colours and they are swapped afterwards.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
ACCENTS = ("#040404", "#050505", "#060606", "#070707")
DASHES = ("solid", (0, (6, 2)), (0, (2, 2)), (0, (1, 3)))
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--accent-{i})" for i, colour in enumerate(ACCENTS)
}
_ON_PAPER = (
    "svg{background:#fff;font-family:sans-serif;--ink:#16202b;--muted:#586675;--line:#d8dde3;"
    "--accent-0:#0b63b0;--accent-1:#b3500a;--accent-2:#2d7a3a;--accent-3:#7a4da0}"
)  # as a report in light colours


@contextmanager
def style() -> Iterator[None]:
    """How every figure is drawn: text stays text, of any script, and is never read as a formula."""
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "medmm", "font.family": "sans-serif", "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser brings the font
        yield


def blank(width: float, height: float, heights: Sequence[float] = (1,), *, measured: bool = False) -> tuple[Figure, Sequence[Axes]]:
    """A figure with one plot, or several below each other.

    Args:
        width: Inches.
        height: Inches.
        heights: Of the plots, relative to each other.
        measured: Whether margins are made to fit long names, which takes twice the time; else they fit numbers.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if measured else None)
    if not measured:
        inch_x, inch_y = 1 / width, 1 / height
        figure.subplots_adjust(left=0.62 * inch_x, right=1 - 0.1 * inch_x, bottom=0.52 * inch_y, top=1 - 0.08 * inch_y, hspace=0.1)
    grid: Any = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    axes: Sequence[Axes] = grid[:, 0]
    figure.patch.set_alpha(0)
    for one in axes:
        one.patch.set_alpha(0)
        one.set_axisbelow(True)
        one.grid(visible=True, color=LINE, linewidth=0.6)
        one.tick_params(colors=MUTED, labelsize=9)
        one.xaxis.label.set_color(INK)
        one.yaxis.label.set_color(INK)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            one.spines[side].set_color(LINE)
    return figure, axes


def short(label: str, length: int = 28) -> str:
    """A name that fits beside an axis."""
    return label if len(label) <= length else label[:length] + "..."


def to_svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element with a title for screen readers; the same input gives the same bytes."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[^"]*_\d+"', "", text)  # numbered alike in every figure of a page, and referred to by nothing
    text = re.sub(r'style="[^"]*"', lambda found: _restyled(found[0]), text)
    return text.replace("<svg ", '<svg role="img" aria-label="' + escape(title) + '" ', 1)


def on_paper(svg: str) -> str:
    """A figure of `to_svg` as a file of its own, which no page lends its colours and font."""
    head, opened, rest = svg.partition(">")
    return f"{head}{opened}<style>{_ON_PAPER}</style>{rest}"


def _restyled(attribute: str) -> str:
    for colour, variable in _VARIABLES.items():
        attribute = attribute.replace(colour, variable)
    return re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", attribute)
