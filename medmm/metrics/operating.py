"""Points and parts of the ROC curve that a use demands: sensitivity at a specificity, the area where specificity is high.

The threshold of such a point is that of the measured samples themselves: what could be had at best, not what decisions
made elsewhere achieve. Those are the metrics of `medmm.metrics.classification`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medmm.metrics.family import Metric, PerLabel
from medmm.metrics.ranking import Ranking, Step, Walk, one_against_rest
from medmm.metrics.scores import Scores
from medmm.metrics.undefined import ratio
from medmm.types import FloatArray

_ONE_CLASS = "needs both classes among the samples"
_SLACK = 1e-9  # shares such as 0.9 of 10 must not miss the whole number by their rounding


@dataclass(frozen=True, slots=True)
class Demand:
    """What a use demands of the ROC curve.

    Attributes:
        levels: Sensitivities and specificities that must be reached.
        lowest: Specificity above which the partial area is taken.
    """

    levels: tuple[float, ...] = (0.9, 0.95)
    lowest: float = 0.9


class _Room(NamedTuple):
    """Limits (C, R) of one walk: false alarms allowed by level and for the area, true ones needed by level."""

    allowed: list[FloatArray]
    for_area: FloatArray
    needed: list[FloatArray]


def operating_points(demand: Demand = Demand()) -> PerLabel:
    """The family for a demand.

    `sensitivity_at_specificity[s]` is the highest sensitivity of a threshold with at least that specificity, and the
    other way round; no interpolation between thresholds. `partial_auroc[specificity,s,1]` is the area under the ROC
    curve, ties interpolated, where specificity is s to 1: at most 1 - s (McClish 1989, not standardised).
    """
    names = [f"sensitivity_at_specificity[{s:g}]" for s in demand.levels]
    names += [f"specificity_at_sensitivity[{s:g}]" for s in demand.levels]
    area = Metric(f"partial_auroc[specificity,{demand.lowest:g},1]", "higher", _ONE_CLASS, 0, 1 - demand.lowest + _SLACK)
    templates = (*(Metric(name, "higher", _ONE_CLASS, 0, 1) for name in names), area)
    return PerLabel(templates, lambda scores, weights: _compute(scores, weights, demand))


OPERATING_POINTS = operating_points()


def _compute(scores: Scores, weights: FloatArray, demand: Demand) -> FloatArray:
    """(2 levels + 1, L, R)."""
    ranking = one_against_rest(scores)
    walk = ranking.walk(weights)
    room = _room(ranking, walk, demand)
    shape = (ranking.chunks, weights.shape[1])
    reached, area = np.zeros((len(demand.levels), *shape)), np.zeros(shape)
    fewest = np.full((len(demand.levels), *shape), np.inf)
    for step in walk.steps:
        for level, (allowed, needed) in enumerate(zip(room.allowed, room.needed, strict=True)):
            reached[level] += step.hits * (step.alarms <= allowed)
            np.minimum(fewest[level], np.where(step.found >= needed, step.alarms, np.inf), out=fewest[level])
        area += step.hits * _width(step, room.for_area)
    both = (walk.positives > 0) & (walk.negatives > 0)
    sensitivity = [ratio(ranking.by_label(r), walk.positives) for r in reached]
    specificity = [1 - ratio(np.minimum.reduceat(f, ranking.first, axis=0), walk.negatives) for f in fewest]
    found = [*sensitivity, *specificity, ratio(ranking.by_label(area), walk.positives * walk.negatives)]
    return np.where(both, np.stack(found), np.nan)


def _room(ranking: Ranking, walk: Walk, demand: Demand) -> _Room:
    positives, negatives = ranking.by_chunk(walk.positives), ranking.by_chunk(walk.negatives)
    return _Room(
        [(1 - s) * negatives + _SLACK for s in demand.levels],
        (1 - demand.lowest) * negatives,
        [s * positives - _SLACK for s in demand.levels],
    )


def _width(step: Step, limit: FloatArray) -> FloatArray:
    """False alarms up to the limit at which the positives of a group are found, half of those tied with it."""
    if step.tied is None:
        return np.maximum(limit - step.alarms, 0)
    right = np.maximum(limit - (step.alarms - step.tied), 0)
    within = np.minimum(right, step.tied)
    width: FloatArray = right - within + within**2 / (2 * np.maximum(step.tied, 1))
    return width
