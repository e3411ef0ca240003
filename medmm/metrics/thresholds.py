"""Decision thresholds, chosen on a tuning split and nowhere else."""

from __future__ import annotations

from typing import Literal

import numpy as np

from medmm.types import FloatArray, Kind

Goal = Literal["max_f1_macro", "youden", "sens_at", "spec_at", "cost"]

_NEVER = float(np.nextafter(1.0, 2.0))  # a threshold that no probability reaches
_SAME = 1e-12


def best_threshold(
    target: FloatArray, p: FloatArray, goal: Goal = "max_f1_macro", *, value: float = 0.5, cost: float = 1.0
) -> float:
    """The probability threshold that serves a goal best.

    Candidates are the midpoints between neighbouring observed probabilities and 0.5, and for the last
    three goals also calling everything or nothing. Of equally good ones the nearest to 0.5.

    Args:
        target: (n,) 0 or 1, both present.
        p: (n,) probability of 1.
        goal: Highest macro-F1 of the two classes; highest sensitivity + specificity (Youden 1950); highest
            specificity at a sensitivity of at least `value`; the other way round; fewest mistakes.
        value: Rate promised.
        cost: Of a missed positive, in false alarms.
    """
    order = np.argsort(p)
    values, hits = p[order], np.r_[0.0, np.cumsum(target[order])]
    distinct = np.unique(values)
    extremes = [0.0, _NEVER] if goal in ("sens_at", "spec_at", "cost") else []
    candidates = np.unique(np.r_[(distinct[1:] + distinct[:-1]) / 2, 0.5, extremes])
    below = np.searchsorted(values, candidates, side="left")  # samples called negative
    false_negative = hits[below]
    true_negative = below - false_negative
    worth = _worth(goal, hits[-1], len(p) - hits[-1], false_negative, true_negative, value, cost)
    best = np.flatnonzero(worth >= worth.max() - _SAME)
    return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])


def best_thresholds(
    kind: Kind, target: FloatArray, probability: FloatArray, goal: Goal = "max_f1_macro", *, value: float = 0.5, cost: float = 1.0
) -> FloatArray | None:
    """Thresholds that serve a goal best: (1,) if binary, (K,) if multilabel, None if multiclass (most probable wins).

    A label that has not both values on the tuning split keeps 0.5.

    Args:
        kind: Kind of task.
        target: (n, K), NaN where unknown.
        probability: (n, K).
        goal: As for `best_threshold`.
        value: Likewise.
        cost: Likewise.
    """
    if kind == "multiclass":
        return None
    columns = [1] if kind == "binary" else range(target.shape[1])
    chosen = []
    for column in columns:
        known = ~np.isnan(target[:, column])
        y, p = target[known, column], probability[known, column]
        chosen.append(best_threshold(y, p, goal, value=value, cost=cost) if len(np.unique(y)) == 2 else 0.5)
    return np.asarray(chosen)


def _worth(
    goal: Goal, positive: float, negative: float, missed: FloatArray, spared: FloatArray, value: float, cost: float
) -> FloatArray:
    """How good each candidate is, from its false and true negatives."""
    hit, alarm = positive - missed, negative - spared
    sensitivity, specificity = hit / positive, spared / negative
    if goal == "max_f1_macro":
        wrong = missed + alarm
        return np.asarray(hit / (2 * hit + wrong) + spared / (2 * spared + wrong))
    if goal == "youden":
        return np.asarray(sensitivity + specificity)
    if goal == "cost":
        return np.asarray(-(cost * missed + alarm))
    promised, other = (sensitivity, specificity) if goal == "sens_at" else (specificity, sensitivity)
    return np.where(promised >= value - _SAME, other, -1.0)
