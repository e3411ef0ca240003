"""Selective prediction: how often the answers are wrong when the least confident ones are withheld.

The confidence of a decision is the probability of what was called. Samples are answered from the most confident down;
among equally confident ones the order is open, and every figure is its mean over all orders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from medmm.metrics.column import Column, over_columns
from medmm.metrics.family import Metric, PerLabel
from medmm.metrics.scores import Scores
from medmm.types import FloatArray

_DIGITS = 12  # 0.9 and 1 - 0.1 are the same confidence

_EMPTY = "needs at least one sample"
_TEMPLATES = (
    Metric("aurc", "lower", _EMPTY, 0, 1, decision=True),
    Metric("e_aurc", "lower", _EMPTY, 0, 1, decision=True),
    Metric("augrc", "lower", _EMPTY, 0, 0.5, decision=True),
)


class Answered(NamedTuple):
    """Weighted sums over the samples at least as confident as each group of equally confident ones, (G + 1, R) from 0 up."""

    answers: FloatArray
    errors: FloatArray


class Selective:
    """Areas under risk-coverage curves; label by label, with their mean, if multilabel.

    `aurc`: mean over n of the error rate among the n most confident (Geifman and El-Yaniv 2017). `e_aurc`: less that
    of the best order of the same decisions. `augrc`: area under the share of all samples that is answered and
    wrong (Traub et al. 2024), the risk of a silent failure.
    """

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """Three, or three macro averages and three for each label."""
        return _LABELS.metrics(scores) if scores.kind == "multilabel" else _TEMPLATES

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(metrics, R) values, NaN where undefined."""
        return _LABELS.batch(scores, weights) if scores.kind == "multilabel" else _areas_of(scores, weights)[:, 0]


def answered(decisions: Column, weights: FloatArray) -> Answered:
    """Cumulate (n, R) weights and errors from the most confident decisions down."""
    count, errors = (decisions.sums(v, decisions.starts, weights)[::-1] for v in (np.ones_like(decisions.p), 1 - decisions.y))
    none = np.zeros((1, weights.shape[1]))
    return Answered(np.concatenate([none, np.cumsum(count, axis=0)]), np.concatenate([none, np.cumsum(errors, axis=0)]))


def risk_coverage(scores: Scores, points: int = 200) -> tuple[tuple[float, float], ...]:
    """(coverage, error rate among those answered), at most so many points; over all known labels if multilabel."""
    parts = _decisions(scores)
    pooled = Column.of(np.concatenate([d.y for d in parts]), np.concatenate([d.p for d in parts]))
    done = answered(pooled, np.ones((len(pooled.rows), 1)))
    count, errors = done.answers[1:, 0], done.errors[1:, 0]
    keep = np.unique(np.linspace(0, len(count) - 1, min(points, len(count))).astype(int))
    return tuple((float(count[i] / count[-1]), float(errors[i] / count[i])) for i in keep)


def _decisions(scores: Scores) -> list[Column]:
    """Whether each decision is right, by rising confidence in it."""
    return scores.cached("decisions", lambda: _made_decisions(scores))


def _made_decisions(scores: Scores) -> list[Column]:
    if scores.kind != "multilabel":
        right, confidence = ((scores.called * a).sum(1) for a in (scores.target, scores.probability))
        return [Column.of(right, confidence.round(_DIGITS))]
    right = np.where(np.isnan(scores.target), np.nan, scores.target == scores.called)
    confidence = np.where(scores.called, scores.probability, 1 - scores.probability).round(_DIGITS)
    return [Column.of(right[:, k], confidence[:, k]) for k in range(len(scores.labels))]


def _areas_of(scores: Scores, weights: FloatArray) -> FloatArray:
    """(3, 1, R), or (3, L, R) if multilabel."""
    return over_columns(_decisions(scores), _areas, weights)


def _areas(decisions: Column, weights: FloatArray) -> FloatArray:
    """(3, R) AURC, its excess, AUGRC."""
    done = answered(decisions, weights)
    total, wrong = done.answers[-1], done.errors[-1]
    sums = digamma(np.arange(1, int(total.max(initial=0)) + 2)) - digamma(1)  # 1 + 1/2 + ... + 1/n

    def harmonic(n: FloatArray) -> FloatArray:
        return np.asarray(sums[n.astype(np.intp)])

    before, errors_before = done.answers[:-1], done.errors[:-1]
    count, errors = np.diff(done.answers, axis=0), np.diff(done.errors, axis=0)
    reciprocals = np.diff(harmonic(done.answers), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(count > 0, errors / count, 0.0)
        # Of j answers of a group, j * rate are wrong on average: sum over j of (errors_before + j * rate) / (before + j).
        aurc = (((errors_before - rate * before) * reciprocals).sum(0) + wrong) / total
        right = total - wrong
        best = (wrong - right * (harmonic(total) - harmonic(right))) / total
        augrc = ((errors_before + errors / 2) * count).sum(0) / total**2
    return np.stack([aurc, np.maximum(aurc - best, 0.0), augrc])


_LABELS = PerLabel(_TEMPLATES, _areas_of)
SELECTIVE = Selective()
