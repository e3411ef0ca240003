"""Decision thresholds, chosen on a tuning split and nowhere else."""

from __future__ import annotations

import numpy as np

from medmm.types import FloatArray, Kind


def best_f1_threshold(target: FloatArray, p: FloatArray) -> float:
    """The probability threshold with the highest macro-F1 of a two-class decision.

    Candidates are the midpoints between neighbouring observed probabilities and 0.5: every decision
    that calls some samples each way. Of equally good ones the nearest to 0.5.

    Args:
        target: (n,) 0 or 1, both present.
        p: (n,) probability of 1.
    """
    order = np.argsort(p)
    values, hits = p[order], np.r_[0.0, np.cumsum(target[order])]
    distinct = np.unique(values)
    candidates = np.unique(np.r_[(distinct[1:] + distinct[:-1]) / 2, 0.5])
    below = np.searchsorted(values, candidates, side="left")  # samples called negative
    false_negative, called = hits[below], len(p) - below
    true_positive = hits[-1] - false_negative
    true_negative = below - false_negative
    wrong = false_negative + called - true_positive
    macro = true_positive / (2 * true_positive + wrong) + true_negative / (2 * true_negative + wrong)
    best = np.flatnonzero(macro >= macro.max() - 1e-12)
    return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])


def best_thresholds(kind: Kind, target: FloatArray, probability: FloatArray) -> FloatArray | None:
    """Thresholds of highest macro-F1: (1,) if binary, (K,) if multilabel, None if multiclass (most probable wins).

    A label that has not both values on the tuning split keeps 0.5.

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
