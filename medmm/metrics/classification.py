"""Discrimination and decisions: AUROC, AUPRC, F1 by every name, and the counts they come from.

Every function takes `Scores` and whole-number weights (n, R), one column a resampling, and returns R values (or
(R, L), one a scored label). A column of ones is the plain metric, so a bootstrap replicate and a
point estimate are the same code. NaN means undefined.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medmm.metrics.scores import Scores
from medmm.types import FloatArray


class Counts(NamedTuple):
    """Weighted confusion counts, each (R, K)."""

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray


def counts(scores: Scores, weights: FloatArray) -> Counts:
    """True and false positives and negatives of each class, unknown labels left out."""
    known = ~np.isnan(scores.target)
    truth = np.where(known, scores.target, 0.0)
    called = scores.called & known
    tp = weights.T @ (truth * called)
    called_total, true_total, total = (weights.T @ a.astype(np.float64) for a in (called, truth, known))
    return Counts(tp, called_total - tp, true_total - tp, total - called_total - true_total + tp)


def f1_by_class(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R, K) F1 of each class; NaN for a class that neither occurs nor is called."""
    c = counts(scores, weights)
    return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def f1_macro(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) mean F1 over the classes for which it is defined; both classes if binary."""
    return nan_mean(f1_by_class(scores, weights))


def f1_micro(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) F1 of the pooled counts; the accuracy unless multilabel."""
    c = counts(scores, weights)
    tp, fp, fn = (a.sum(1) for a in (c.tp, c.fp, c.fn))
    return _ratio(2 * tp, 2 * tp + fp + fn)


def f1_weighted(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) F1 averaged by how often each class occurs. Legacy: it rewards calling the common class."""
    c = counts(scores, weights)
    support = c.tp + c.fn
    each = np.nan_to_num(f1_by_class(scores, weights))
    return _ratio((each * support).sum(1), support.sum(1))


def accuracy(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) share of right decisions; over all labels if multilabel."""
    c = counts(scores, weights)
    return (
        _ratio((c.tp + c.tn).sum(1), (c.tp + c.tn + c.fp + c.fn).sum(1))
        if scores.kind == "multilabel"
        else _ratio(c.tp.sum(1), (c.tp + c.fn).sum(1))
    )


def sensitivity(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R, L) true positive rate of each scored label."""
    c = counts(scores, weights)
    return _ratio(c.tp, c.tp + c.fn)[:, scores.positives]


def specificity(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R, L) true negative rate of each scored label."""
    c = counts(scores, weights)
    return _ratio(c.tn, c.tn + c.fp)[:, scores.positives]


def precision(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R, L) positive predictive value of each scored label."""
    c = counts(scores, weights)
    return _ratio(c.tp, c.tp + c.fp)[:, scores.positives]


def balanced_accuracy(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) mean recall over the classes that occur; over labels the mean of both rates if multilabel."""
    if scores.kind == "multilabel":
        return nan_mean((sensitivity(scores, weights) + specificity(scores, weights)) / 2)
    c = counts(scores, weights)
    return nan_mean(_ratio(c.tp, c.tp + c.fn))


def auroc(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R, L) area under the ROC curve of each scored label, one against the rest; ties count half."""
    return np.stack([_auroc_of(scores, weights, column) for column in scores.positives], axis=1)


def auprc(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R, L) average precision of each scored label, steps not interpolated."""
    return np.stack([_auprc_of(scores, weights, column) for column in scores.positives], axis=1)


def nan_mean(values: FloatArray) -> FloatArray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1).astype(np.float64))


def _group_sums(scores: Scores, weights: FloatArray, column: int) -> tuple[FloatArray, FloatArray]:
    """Weights (G, R) of positives and negatives in each group of equal probability, falling."""
    order, starts = scores.ranked(column)
    if not len(order):
        empty = np.zeros((1, weights.shape[1]))
        return empty, empty
    ranked = weights[order].astype(np.float64)
    positive = ranked * scores.target[order, column][:, None]
    totals, positives = np.add.reduceat(ranked, starts, axis=0), np.add.reduceat(positive, starts, axis=0)
    return positives, totals - positives


def _auroc_of(scores: Scores, weights: FloatArray, column: int) -> FloatArray:
    positives, negatives = _group_sums(scores, weights, column)
    above = np.cumsum(negatives, axis=0) - negatives
    lost = (positives * (above + negatives / 2)).sum(0)
    pairs = positives.sum(0) * negatives.sum(0)
    return _ratio(pairs - lost, pairs)


def _auprc_of(scores: Scores, weights: FloatArray, column: int) -> FloatArray:
    positives, negatives = _group_sums(scores, weights, column)
    found = np.cumsum(positives, axis=0)
    precision_here = _ratio(found, found + np.cumsum(negatives, axis=0))
    return _ratio((positives * np.nan_to_num(precision_here)).sum(0), positives.sum(0))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
