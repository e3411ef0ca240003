"""Every figure of the report, as inline SVG: of one label, or of all arms and labels together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medmm.report.canvas import ACCENTS, DASHES, INK, LINE, MUTED, blank, short, style, to_svg
from medmm.results import Arm, Calibration, Points, RobustnessCurve, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SQUARE = 3.6
_UNIT = (-0.02, 1.02)
_ROW_LENGTH = 40  # of the name of a row, which has the margin to itself


@style()
def reliability_figure(calibration: Calibration, label: str, smooth: Points = ()) -> str:
    """Observed against predicted frequency: bins with Wilson intervals, a smooth curve with its band, and the samples below."""
    figure, (axes, counts) = blank(_SQUARE, _SQUARE + 0.5, heights=(4, 1))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHES[1])
    if smooth:
        p, observed, low, high = zip(*smooth, strict=True)
        axes.fill_between(p, low, high, color=ACCENTS[1], alpha=0.18, linewidth=0)
        axes.plot(p, observed, color=ACCENTS[1], linewidth=1.6)
    x = [b.predicted for b in calibration.bins]
    y = [b.observed for b in calibration.bins]
    # Wilson's interval may end a rounding error inside the point at 0 or 1.
    below = [max(b.observed - b.low, 0.0) for b in calibration.bins]
    above = [max(b.high - b.observed, 0.0) for b in calibration.bins]
    axes.errorbar(x, y, yerr=[below, above], fmt="o", color=ACCENTS[0], markersize=5, linewidth=1.4, capsize=2)
    axes.set(xlim=_UNIT, ylim=_UNIT, ylabel=f"observed share of {short(label)}")
    axes.set_xticklabels([])
    counts.vlines(x, 0, [b.count for b in calibration.bins], color=ACCENTS[0], linewidth=2)
    counts.set(xlim=_UNIT, ylim=(0, None), xlabel=f"predicted probability of {short(label)}", ylabel="samples")
    return to_svg(figure, f"Reliability diagram of {label}")


@style()
def roc_figure(arms: Sequence[Arm], label: str) -> str:
    """ROC curves of all arms for one label."""
    figure, (axes,) = blank(_SQUARE, _SQUARE)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHES[3])
    _draw_arms(axes, {arm.name: arm.curves[label].roc for arm in arms if label in arm.curves})
    axes.set(xlim=_UNIT, ylim=_UNIT, xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(frameon=False, loc="lower right", labelcolor=INK)
    return to_svg(figure, f"ROC curves of {label}")


@style()
def precision_figure(arms: Sequence[Arm], label: str) -> str:
    """Precision against recall of all arms for one label, above the share of positives that chance would reach."""
    figure, (axes,) = blank(_SQUARE, _SQUARE)
    prevalence = arms[0].curves[label].pr[-1][1]  # the last point calls everybody
    axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=DASHES[3], label=f"prevalence {prevalence:.2f}")
    _draw_arms(axes, {arm.name: arm.curves[label].pr for arm in arms if label in arm.curves})
    axes.set(xlim=_UNIT, ylim=_UNIT, xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    axes.legend(frameon=False, loc="best", labelcolor=INK)
    return to_svg(figure, f"Precision-recall curves of {label}")


@style()
def decision_figure(points: Points, label: str, threshold: float | None) -> str:
    """Net benefit of using the model, of treating everybody and of treating nobody, against the threshold."""
    figure, (axes,) = blank(_SQUARE, _SQUARE)
    thresholds, model, treat_all = zip(*points, strict=True)
    axes.axhline(0, color=MUTED, linewidth=1.2, linestyle=DASHES[3], label="treat none")
    axes.plot(thresholds, treat_all, color=ACCENTS[1], linewidth=1.4, linestyle=DASHES[1], label="treat all")
    axes.plot(thresholds, model, color=ACCENTS[0], linewidth=1.8, label="use the model")
    if threshold is not None and thresholds[0] <= threshold <= thresholds[-1]:
        axes.axvline(threshold, color=INK, linewidth=0.8, linestyle=DASHES[2], label="threshold in use")
    top = max(*model, *treat_all[:1], 0.01)
    axes.set(ylim=(-0.4 * top, 1.15 * top), xlabel=f"threshold on the probability of {short(label)}", ylabel="net benefit")
    axes.legend(frameon=False, loc="upper right", labelcolor=INK)
    return to_svg(figure, f"Decision curve of {label}")


@style()
def risk_coverage_figure(curves: Mapping[str, Points]) -> str:
    """Error rate of each arm when only its most confident answers are given."""
    figure, (axes,) = blank(_SQUARE, _SQUARE)
    _draw_arms(axes, curves)
    axes.set(xlim=_UNIT, ylim=(0, None), xlabel="share of samples answered", ylabel="error rate among them")
    axes.legend(frameon=False, loc="best", labelcolor=INK)
    return to_svg(figure, "Error rate of every arm by share of samples answered")


@style()
def robustness_figure(curve: RobustnessCurve) -> str:
    """One metric as one perturbation grows."""
    figure, (axes,) = blank(_SQUARE, 2.8)
    x = [level for level, v in zip(curve.levels, curve.values, strict=True) if v.value is not None]
    shown = [v for v in curve.values if v.value is not None]
    axes.plot(x, [v.value for v in shown if v.value is not None], "o-", color=ACCENTS[0], linewidth=1.8, markersize=4)
    for level, v in zip(x, shown, strict=True):
        if v.low is not None and v.high is not None:
            axes.plot([level, level], [v.low, v.high], color=ACCENTS[0], linewidth=1.4)
    axes.set(xlabel=f"{curve.perturbation} ({curve.unit})", ylabel=short(curve.metric))
    return to_svg(figure, f"{curve.metric} as {curve.perturbation} grows")


@style()
def forest_figure(rows: Mapping[str, Value], metric: str, *, reference: float | None = None) -> str:
    """One metric of several arms, labels or groups with its interval; grey is what a perfectly calibrated model would get.

    Args:
        rows: Name to value; undefined ones are left out.
        metric: Name on the axis.
        reference: Where a line stands, e.g. 0.5.
    """
    shown = [(name, v.value, v) for name, v in rows.items() if v.value is not None]
    figure, (axes,) = blank(5.2, 0.7 + 0.3 * max(len(shown), 2), measured=True)
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=1, linestyle=DASHES[1])
    for row, (_, point, value) in enumerate(reversed(shown)):
        if value.null_low is not None and value.null_high is not None:
            axes.plot([value.null_low, value.null_high], [row, row], color=LINE, linewidth=9, solid_capstyle="butt")
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [row, row], color=ACCENTS[0], linewidth=1.8, solid_capstyle="butt")
        axes.plot([point], [row], "o", color=ACCENTS[0], markersize=5)
    axes.set_yticks(range(len(shown)), [short(name, _ROW_LENGTH) for name, _, _ in reversed(shown)])
    axes.set(ylim=(-0.6, len(shown) - 0.4), xlabel=metric)
    return to_svg(figure, f"{metric} of every row with its interval")


def _draw_arms(axes: Axes, curves: Mapping[str, Points]) -> None:
    for i, (name, points) in enumerate(curves.items()):
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=ACCENTS[i % 4], linestyle=DASHES[i % 4], linewidth=1.8, label=short(name))
