"""Discrimination: how well probabilities put positives above negatives, whatever the threshold.

Positives are walked through from the highest probability down, in groups of equal ones. For each group three sums are
needed: the weight of the negatives between it and the group before, of those tied with it, and of the positives
themselves. One sparse matrix, made once, gives them for all labels and a block of replicates. What lies between two
positives need not be told apart, so that the cost after that is one of positives, not of samples.

Groups are laid out in chunks of `_STEPS`: a walk takes one group of every chunk at a time, having begun each at what
lies above it. That makes a cumulative sum a few vector operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from medmm.metrics.family import Metric, PerLabel
from medmm.metrics.runs import narrow, sums_of_runs
from medmm.metrics.scores import Scores
from medmm.metrics.undefined import nan_mean, ratio
from medmm.types import FloatArray, IntArray

_STEPS = 32

_ONE_CLASS = "needs both classes among the samples"
_NO_POSITIVE = "the class does not occur"


class Step(NamedTuple):
    """One group of every chunk, each (C, R); overwritten by the next step.

    Attributes:
        hits: Weight of the positives of the group.
        found: Of the positives down to and with it.
        alarms: Of the negatives down to and with it.
        tied: Of the negatives tied with it; None when no negative is tied with a positive.
    """

    hits: FloatArray
    found: FloatArray
    alarms: FloatArray
    tied: FloatArray | None


class Walk(NamedTuple):
    """All labels for one block of weights.

    Attributes:
        positives, negatives: (L, R) weights in all.
        steps: Down the groups.
    """

    positives: FloatArray
    negatives: FloatArray
    steps: Iterator[Step]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The sparse sums over the groups of L labels.

    Attributes:
        operator: Rows by what (between, hits, then tied if any), step and chunk; then the negatives below all, by label.
        first: (L,) first of the C chunks of each label.
        chunks: C.
        ties: Whether any negative is tied with a positive.
    """

    operator: csr_array
    first: IntArray
    chunks: int
    ties: bool

    @classmethod
    def of(cls, questions: Sequence[tuple[FloatArray, FloatArray]]) -> Ranking:
        """Sort once.

        Args:
            questions: For each label (n,) 0 or 1, NaN where a sample takes no part, and (n,) probabilities.
        """
        orders, bounds = zip(*(_groups(*question) for question in questions), strict=True)
        offsets = np.cumsum([0, *map(len, orders)])[:-1]
        runs = np.concatenate([_in_chunks(b) + offset for b, offset in zip(bounds, offsets, strict=True)], axis=-1)
        chunks = [max(1, -(-len(b) // _STEPS)) for b in bounds]
        ties = bool((runs[0, 2] < runs[1, 2]).any())
        below = np.array([[b[-1, -1] if len(b) else 0 for b in bounds], [len(order) for order in orders]]) + offsets
        starts, ends = np.concatenate([(runs if ties else runs[:, :2]).reshape(2, -1), below], axis=1)
        operator = sums_of_runs(np.concatenate(orders), starts, ends, len(questions[0][0]))
        return cls(operator, np.cumsum([0, *chunks])[:-1], sum(chunks), ties)

    def walk(self, weights: FloatArray) -> Walk:
        """Begin at the top, for whole-number weights (n, R)."""
        sums = self.operator @ narrow(weights)
        planes = sums[: -len(self.first)].reshape(-1, _STEPS, self.chunks, weights.shape[1])
        hits, negatives = planes[1].sum(0).astype(np.float64), planes[0].sum(0).astype(np.float64)
        if self.ties:
            negatives += planes[2].sum(0)
        return Walk(self.by_label(hits), self.by_label(negatives) + sums[-len(self.first) :], self._steps(planes, hits, negatives))

    def by_label(self, values: FloatArray) -> FloatArray:
        """(C, R) summed to (L, R)."""
        return np.asarray(np.add.reduceat(values, self.first, axis=0))

    def by_chunk(self, values: FloatArray) -> FloatArray:
        """(L, R) repeated to (C, R)."""
        return np.repeat(values, np.diff(np.r_[self.first, self.chunks]), axis=0)

    def _steps(self, planes: FloatArray, hits: FloatArray, negatives: FloatArray) -> Iterator[Step]:
        found, alarms = self._above(hits), self._above(negatives)
        hit, tied = np.empty_like(found), np.empty_like(found) if self.ties else None
        for step in range(_STEPS):
            np.copyto(hit, planes[1, step])
            found += hit
            alarms += planes[0, step]
            if tied is not None:
                np.copyto(tied, planes[2, step])
                alarms += tied
            yield Step(hit, found, alarms, tied)

    def _above(self, totals: FloatArray) -> FloatArray:
        """(C, R) what lies above each chunk within its label."""
        above = np.cumsum(totals, axis=0) - totals
        return above - self.by_chunk(above[self.first])


def one_against_rest(scores: Scores) -> Ranking:
    """Of every scored label, made once."""
    return scores.cached("ranking", lambda: Ranking.of([(scores.target[:, k], scores.probability[:, k]) for k in scores.positives]))


def areas(ranking: Ranking, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Areas under the ROC curve, ties counting half, and average precisions, steps not interpolated; each (L, R)."""
    walk = ranking.walk(weights)
    wrong, precision, here = np.zeros((3, ranking.chunks, weights.shape[1]))
    for step in walk.steps:
        np.multiply(step.hits, step.alarms, out=here)
        wrong += here
        if step.tied is not None:
            np.multiply(step.hits, step.tied, out=here)
            here /= 2
            wrong -= here
        np.add(step.found, step.alarms, out=here)
        np.maximum(here, 1.0, out=here)  # nothing called yet: 0 / 1 instead of 0 / 0
        np.divide(step.found, here, out=here)
        here *= step.hits
        precision += here
    pairs = walk.positives * walk.negatives
    return ratio(pairs - ranking.by_label(wrong), pairs), ratio(ranking.by_label(precision), walk.positives)


AREAS = PerLabel(
    (Metric("auroc", "higher", _ONE_CLASS, 0, 1), Metric("auprc", "higher", _NO_POSITIVE, 0, 1)),
    lambda scores, weights: np.stack(areas(one_against_rest(scores), weights)),
)


@dataclass(frozen=True, slots=True)
class HandTill:
    """AUROC of every class against every other, averaged over pairs that both occur (Hand & Till 2001); multiclass only."""

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """One, or none."""
        one = Metric("auroc_hand_till", "higher", "needs at least two classes among the samples", 0, 1)
        return (one,) if scores.kind == "multiclass" else ()

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(1, R), or (0, R)."""
        if scores.kind != "multiclass":
            return np.empty((0, weights.shape[1]))
        pairs = scores.cached("ranking of pairs", lambda: Ranking.of(_pairs(scores)))
        return nan_mean(areas(pairs, weights)[0], axis=0)[None]


HAND_TILL = HandTill()


def _pairs(scores: Scores) -> list[tuple[FloatArray, FloatArray]]:
    """Each class against each other by its own probability; samples of further classes take no part."""
    truth, p = scores.target, scores.probability
    every = [(i, j) for i in scores.positives for j in scores.positives if i != j]
    return [(np.where(truth[:, i] + truth[:, j] > 0, truth[:, i], np.nan), p[:, i]) for i, j in every]


def _groups(target: FloatArray, p: FloatArray) -> tuple[IntArray, IntArray]:
    """Samples by falling probability, negatives first among equal ones, and the groups of positives in them.

    Returns:
        (m,) samples, and (G, 4) places: where the group before ended, where the negatives tied with this one begin,
        where its positives begin and where they end.
    """
    known = np.flatnonzero(~np.isnan(target))
    order = known[np.lexsort((target[known], -p[known]))]
    falling, positive = -p[order], np.flatnonzero(target[order] > 0)
    start, one_each = np.unique(np.searchsorted(falling, falling[positive], side="left"), return_index=True)
    first = positive[one_each]
    end = np.searchsorted(falling, falling[first], side="right")
    return order, np.stack([np.r_[0, end[:-1]][: len(end)], start, first, end], axis=1)


def _in_chunks(bounds: IntArray) -> IntArray:
    """(G, 4) places to the (2, 3, `_STEPS`, C) starts and ends of what lies between, is hit and is tied."""
    chunks = max(1, -(-len(bounds) // _STEPS))
    padded = np.zeros((chunks * _STEPS, 4), dtype=np.int64)
    padded[: len(bounds)] = bounds
    before, start, first, end = padded.reshape(chunks, _STEPS, 4).transpose(2, 1, 0)
    return np.stack([np.stack([before, first, start]), np.stack([start, end, first])])
