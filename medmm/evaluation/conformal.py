"""Prediction sets fitted on the tuning split, and what they cover of the scored samples."""

from __future__ import annotations

import numpy as np

from medmm.evaluation.fitted import FittedConformal
from medmm.evaluation.groups import groups_of
from medmm.evaluation.resample import Resampling
from medmm.evaluation.sides import Side
from medmm.evaluation.task import Task
from medmm.metrics import Metric
from medmm.metrics.conformal import PredictionSets, covered
from medmm.results import ConformalSets, Value
from medmm.types import AnyArray

_COVERAGE = Metric("coverage", "higher", "there is nothing to cover", 0.0, 1.0)
_SIZE = Metric("size", "lower", "needs at least one sample", 0.0, np.inf)


def measure_sets(side: Side, fitted: FittedConformal | None, resampling: Resampling, task: Task) -> tuple[ConformalSets, ...]:
    """Coverage and size of every kind of set, overall and in each subgroup that is large enough.

    Args:
        side: The full arm.
        fitted: Sets; None for none.
        resampling: Draws for intervals.
        task: Names the subgroups.
    """
    if fitted is None:
        return ()
    groups = [(f"{column}={value}", mask) for column, value, mask in groups_of(side, task) if mask.sum() >= task.subgroups.min_n]
    return tuple(_measure(PredictionSets.from_dict(content), side, fitted, groups, resampling) for content in fitted.sets)


def _measure(
    sets: PredictionSets, side: Side, fitted: FittedConformal, groups: list[tuple[str, AnyArray]], resampling: Resampling
) -> ConformalSets:
    scores = side.scores
    inside = sets(scores.probability)
    found, all_of_it = covered(sets, scores.target, inside)

    def coverage(rows: AnyArray) -> Value:
        return resampling.value(_COVERAGE, resampling.ratio("coverage", found[rows], all_of_it[rows], scores.cluster[rows]))

    everybody = np.ones(len(scores), dtype=bool)
    size = resampling.ratio("size", inside.sum(1), everybody.astype(np.float64), scores.cluster)
    return ConformalSets(
        method=f"{sets.method},{sets.score}",
        promised=sets.promised,
        split=fitted.source.split,
        n=fitted.source.n,
        coverage=coverage(everybody),
        size=resampling.value(_SIZE, size),
        by_group={name: coverage(mask) for name, mask in groups},
    )
