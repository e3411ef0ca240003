"""Proper scores: Brier score and log-loss, their skill over the class frequencies, and what the Brier score consists of."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import entr

from medmm.metrics.column import Column, by_column
from medmm.metrics.family import Metric, PerLabel, labelled
from medmm.metrics.scores import Scores
from medmm.metrics.undefined import nan_mean, ratio
from medmm.types import FloatArray

_EPSILON = np.finfo(np.float64).eps

_EMPTY = "needs at least one sample"
_ONE_CLASS = "needs both classes among the samples"


class Losses(NamedTuple):
    """What each sample contributes.

    Attributes:
        known: (n, L) 1 where the label is known, else 0.
        truth: (n, L) the label, 0 where unknown.
        brier: (n, L) squared error of the label's probability, 0 where unknown.
        log_loss: (n, L) in nats, 0 where unknown.
        own: (n,) log-loss of the true class of several.
    """

    known: FloatArray
    truth: FloatArray
    brier: FloatArray
    log_loss: FloatArray
    own: FloatArray


def losses(scores: Scores) -> Losses:
    """Contributions of each sample and scored label, computed once."""
    return scores.cached("losses", lambda: _losses(scores))


class Proper:
    """Brier score and log-loss of the task and of each label, and their skill.

    Conventions: binary, the squared error and log-loss of the positive class; multiclass, squared errors summed
    over classes (0 to 2) and the log-loss of the true class; multilabel, the mean over labels of the binary
    scores. A label's own scores are binary, against the rest. Log-loss is in nats, with probabilities moved
    2.2e-16 away from 0 and 1. Skill is 1 - score / score of the class frequencies of the same samples: 0 for a
    model that knows only those, 1 for a perfect one.
    """

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """The task's four, then four a label unless binary."""
        four = (
            Metric("brier", "lower", _EMPTY, 0, 1),
            Metric("log_loss", "lower", _EMPTY, 0, np.inf),
            Metric("brier_skill", "higher", _ONE_CLASS, -np.inf, 1),
            Metric("log_loss_skill", "higher", _ONE_CLASS, -np.inf, 1),
        )
        if scores.kind == "binary":
            return four
        whole = (replace(four[0], high=2), *four[1:]) if scores.kind == "multiclass" else four
        return (*whole, *(labelled(m, scores.labels[k]) for k in scores.positives for m in four))

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(metrics, R) values, NaN where undefined."""
        parts = losses(scores)
        known, truth, brier, log_loss = (part.T @ weights for part in parts[:4])
        share = ratio(truth, known)
        doubt, entropy = share * (1 - share), entr(share) + entr(1 - share)
        labels = _four(ratio(brier, known), ratio(log_loss, known), doubt, entropy)
        if scores.kind == "binary":
            return labels[:, 0]
        if scores.kind == "multilabel":
            whole = nan_mean(labels, axis=1)
        else:
            total = known[0]
            own = ratio(parts.own @ weights, total)
            whole = _four(ratio(brier.sum(0), total), own, doubt.sum(0), entr(share).sum(0))
        return np.concatenate([whole, np.moveaxis(labels, 0, 1).reshape(-1, weights.shape[1])])


def corp(column: Column, weights: FloatArray) -> FloatArray:
    """(3, R) miscalibration, discrimination and uncertainty: Brier score = MCB - DSC + UNC (Dimitriadis et al. 2021).

    The first is what isotonic recalibration on these very samples would gain, the second what it then has over
    the class frequency. On few samples both are too high, like every error measured in bins.
    """
    return np.stack([_corp(column, weights[column.rows, r]) for r in range(weights.shape[1])], axis=1)


def _corp(column: Column, weight: FloatArray) -> FloatArray:
    drawn = np.flatnonzero(weight > 0)
    if not len(drawn):
        return np.full(3, np.nan)
    w, y, p = weight[drawn], column.y[drawn], column.p[drawn]
    first = np.flatnonzero(np.r_[True, p[1:] != p[:-1]])
    count, positive = np.add.reduceat(w, first), np.add.reduceat(w * y, first)
    fitted = isotonic_regression(positive / count, weights=count).x
    group = np.searchsorted(first, np.arange(len(p)), side="right") - 1
    total = w.sum()
    score, recalibrated, constant = (w @ (q - y) ** 2 / total for q in (p, fitted[group], positive.sum() / total))
    return np.array([score - recalibrated, constant - recalibrated, constant])


def murphy(column: Column) -> FloatArray:
    """(3,) reliability, resolution and uncertainty by distinct probabilities: Brier score = REL - RES + UNC (Murphy 1973).

    Unlike `corp` it groups only what is equal, so it means something only for few distinct probabilities; NaN without a sample.
    """
    if not len(column.p):
        return np.full(3, np.nan)
    count = np.diff(np.append(column.starts, len(column.p)))
    frequency, mean = np.add.reduceat(column.y, column.starts) / count, column.y.mean()
    squares = (column.p[column.starts] - frequency) ** 2, (frequency - mean) ** 2
    return np.array([*(float(np.average(s, weights=count)) for s in squares), mean * (1 - mean)])


def _losses(scores: Scores) -> Losses:
    columns = list(scores.positives)
    known = ~np.isnan(scores.target[:, columns])
    truth = np.where(known, scores.target[:, columns], 0.0)
    p = np.clip(scores.probability, _EPSILON, 1 - _EPSILON)
    brier = np.where(known, scores.probability[:, columns] - truth, 0.0) ** 2
    log_loss = -np.where(truth > 0, np.log(p[:, columns]), np.log1p(-p[:, columns]))
    own = np.zeros(len(p)) if scores.kind == "multilabel" else -(scores.target * np.log(p / p.sum(1, keepdims=True))).sum(1)
    return Losses(known.astype(np.float64), truth, brier, np.where(known, log_loss, 0.0), own)


def _four(brier: FloatArray, log_loss: FloatArray, doubt: FloatArray, entropy: FloatArray) -> FloatArray:
    """(4, ...) the two scores and their skill over the two scores of the class frequencies."""
    return np.stack(
        [brier, log_loss, *(np.where(r > 0, 1 - ratio(s, r), np.nan) for s, r in ((brier, doubt), (log_loss, entropy)))]
    )


PROPER = Proper()
CORP = PerLabel(
    (
        Metric("brier_mcb", "lower", _EMPTY, 0, 1, dear=True, null=True),
        Metric("brier_dsc", "higher", _EMPTY, 0, 0.25, dear=True),
        Metric("brier_unc", "target", _EMPTY, 0, 0.25, dear=True),
    ),
    by_column(corp),
)
