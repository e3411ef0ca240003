"""Decision thresholds, chosen on a tuning split and nowhere else."""

from __future__ import annotations

import numpy as np

from medmm.metrics.classification import f1_macro
from medmm.metrics.scores import Scores, decide
from medmm.types import FloatArray, Kind

_CANDIDATES = 400


def best_f1_threshold(target: FloatArray, p: FloatArray) -> float:
    """The probability threshold with the highest macro-F1 of a two-class decision.

    Of equally good thresholds the one nearest 0.5 is taken; each lies midway between two observed
    probabilities.

    Args:
        target: (n,) 0 or 1.
        p: (n,) probability of 1.
    """
    values = np.unique(p)
    middles = (values[1:] + values[:-1]) / 2
    if len(middles) > _CANDIDATES:
        middles = np.quantile(middles, np.linspace(0, 1, _CANDIDATES))
    candidates = np.unique(np.r_[middles, 0.5])
    both, truth = np.stack([1 - p, p], axis=1), np.stack([1 - target, target], axis=1)
    patients = np.arange(len(p))

    def quality(threshold: float) -> float:
        called = decide("binary", both, np.array([threshold]))
        scores = Scores("binary", ("no", "yes"), truth, both, called, patients)
        return float(f1_macro(scores, np.ones((len(p), 1)))[0])

    return float(max(candidates, key=lambda t: (round(quality(t), 12), -abs(t - 0.5))))


def best_thresholds(kind: Kind, target: FloatArray, probability: FloatArray) -> FloatArray | None:
    """Thresholds of highest macro-F1: (1,) if binary, (K,) if multilabel, None if multiclass (most probable wins).

    Args:
        kind: Kind of task.
        target: (n, K), NaN where unknown.
        probability: (n, K).
    """
    if kind == "multiclass":
        return None
    columns = [1] if kind == "binary" else range(target.shape[1])
    chosen = []
    for column in columns:
        known = ~np.isnan(target[:, column])
        both_classes = len(np.unique(target[known, column])) == 2
        chosen.append(best_f1_threshold(target[known, column], probability[known, column]) if both_classes else 0.5)
    return np.asarray(chosen)
