"""Decision curves: what acting on a probability gains over treating everybody or nobody (Vickers and Elkin 2006)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medmm.metrics.column import Column, column
from medmm.metrics.family import Metric, labelled
from medmm.metrics.scores import Scores
from medmm.types import FloatArray

_EMPTY = "needs at least one sample"

THRESHOLDS = (0.05, 0.1, 0.2, 0.5)
"""Probabilities at which to treat that metrics are reported for."""


@dataclass(frozen=True, slots=True)
class NetBenefit:
    """Net benefit and interventions avoided at each threshold, label by label.

    Treating whoever reaches the threshold t gains TP / n - FP / n * t / (1 - t), in true positives a patient; treating
    nobody gains 0. `interventions_avoided` is the gain over treating everybody, in treatments spared for each 100
    patients without a positive missed.

    Attributes:
        thresholds: Above 0 and below 1.
    """

    thresholds: tuple[float, ...] = THRESHOLDS

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """Net benefits at all thresholds, then interventions avoided, of one label after the other."""
        benefits = [Metric(f"net_benefit[{t:g}]", "higher", _EMPTY, -t / (1 - t), 1) for t in self.thresholds]
        avoided = [Metric(f"interventions_avoided[{t:g}]", "higher", _EMPTY, -np.inf, 100) for t in self.thresholds]
        if scores.kind == "binary":
            return (*benefits, *avoided)
        return tuple(labelled(m, scores.labels[k]) for k in scores.positives for m in (*benefits, *avoided))

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(metrics, R) values, NaN without a sample."""
        odds = np.array([t / (1 - t) for t in self.thresholds])[:, None]
        rows = []
        for k in scores.positives:
            positives, negatives, total = _treated(column(scores, k), weights, self.thresholds)
            with np.errstate(divide="ignore", invalid="ignore"):
                benefit = (positives[1:] - negatives[1:] * odds) / total
                everybody = (positives[:1] - negatives[:1] * odds) / total
            rows += [benefit, 100 * (benefit - everybody) / odds]
        return np.concatenate(rows)


def net_benefit_curve(scores: Scores, index: int) -> tuple[tuple[float, float, float], ...]:
    """(threshold, net benefit of the model, of treating everybody) at 0.01 to 0.99; empty without a sample.

    Args:
        scores: What to draw.
        index: Label.
    """
    thresholds = tuple(np.arange(1, 100) / 100)
    label = column(scores, index)
    if not len(label.p):
        return ()
    positives, negatives, total = (a[..., 0] for a in _treated(label, np.ones((len(scores), 1)), thresholds))
    odds = np.array([t / (1 - t) for t in thresholds])
    model, everybody = (positives[1:] - negatives[1:] * odds) / total, (positives[0] - negatives[0] * odds) / total
    return tuple((float(t), float(m), float(e)) for t, m, e in zip(thresholds, model, everybody, strict=True))


def _treated(label: Column, weights: FloatArray, thresholds: tuple[float, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted positives and negatives, each (T + 1, R), in all and at or above each threshold; and all samples, (R,)."""
    starts = np.searchsorted(label.p, thresholds, side="left")
    order = np.argsort(starts, kind="stable")
    between = [label.sums(v, np.r_[0, starts[order]], weights) for v in (label.y, 1 - label.y)]
    above = [np.cumsum(b[::-1], axis=0)[::-1] for b in between]
    places = np.r_[0, 1 + np.argsort(order, kind="stable")]
    positives, negatives = (a[places] for a in above)
    total = positives[0] + negatives[0]
    return positives, negatives, np.where(total > 0, total, np.nan)


NET_BENEFIT = NetBenefit()
