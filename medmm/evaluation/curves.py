"""Curves of one label, thinned to what a page can show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medmm.evaluation.resample import Resampling
from medmm.metrics import Scores
from medmm.metrics.decision_curve import net_benefit_curve
from medmm.metrics.diagram import smooth_curve
from medmm.metrics.selective import risk_coverage
from medmm.results import Curves, Points
from medmm.types import FloatArray

_POINTS = 200
_DIGITS = 5


def curves_of(scores: Scores, column: int, resampling: Resampling, *, smooth: bool) -> Curves:
    """All curves of a label; those that are not defined are empty.

    Args:
        scores: What to draw.
        column: Label.
        resampling: Draws for the band of the smooth calibration curve.
        smooth: Whether to make that one, which is slow.
    """
    blocks = resampling.blocks(scores, resampling.few) if smooth else ()
    return Curves(
        roc=_roc(scores, column),
        pr=_pr(scores, column),
        net_benefit=_rounded(net_benefit_curve(scores, column)),
        smooth=_rounded(smooth_curve(scores, column, blocks, level=resampling.policy.level)) if smooth else (),
    )


def risk_of(scores: Scores) -> Points:
    """(coverage, error rate) as the least confident decisions are left out."""
    return _rounded(risk_coverage(scores))


def _rounded(points: Sequence[tuple[float, ...]]) -> Points:
    return tuple(tuple(round(float(x), _DIGITS) for x in point) for point in points)


def _thin(*axes: FloatArray) -> Points:
    """At most 200 points of a curve, its ends among them."""
    n = len(axes[0])
    keep = np.unique(np.linspace(0, n - 1, min(_POINTS, n)).astype(int))
    return tuple(tuple(round(float(axis[i]), _DIGITS) for axis in axes) for i in keep)


def _hits(scores: Scores, column: int) -> tuple[FloatArray, FloatArray]:
    """Positives and negatives called at each threshold, from calling the fewest to calling all."""
    order, starts = scores.ranked(column)
    y = scores.target[order, column]
    ends = np.r_[starts[1:], len(y)] - 1
    return np.cumsum(y)[ends], np.cumsum(1 - y)[ends]


def _roc(scores: Scores, column: int) -> Points:
    order, _ = scores.ranked(column)
    if not 0 < scores.target[order, column].sum() < len(order):
        return ()
    hits, alarms = _hits(scores, column)
    return _thin(np.r_[0.0, alarms / alarms[-1]], np.r_[0.0, hits / hits[-1]])


def _pr(scores: Scores, column: int) -> Points:
    order, _ = scores.ranked(column)
    if not scores.target[order, column].sum() > 0:
        return ()
    hits, alarms = _hits(scores, column)
    return _thin(hits / hits[-1], hits / (hits + alarms))
