"""Discrimination: how well probabilities put positives above negatives, whatever the threshold.

Everything here comes from three sums for each group of positives with the same probability, taken from the highest
down: the weight of the negatives between this group and the one before, of those tied with it, and of the positives
themselves. One sparse matrix, made once, gives them for all labels and a block of replicates. What lies between two
positives need not be told apart, so that the cost after that is one of positives, not of samples. Sums of whole
numbers below 2^24 are exact in single precision, which is twice as fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from medmm.metrics.family import Metric, PerLabel
from medmm.metrics.scores import Scores
from medmm.metrics.undefined import ratio
from medmm.types import FloatArray, IntArray

_ONE_CLASS = "needs both classes among the samples"
_NO_POSITIVE = "the class does not occur"
_SINGLE_LIMIT = 2.0**24


class Ranks(NamedTuple):
    """One label's positives in G groups of equal probability, highest first.

    Attributes:
        hits: (G, R) weight of the positives of each group.
        found: (G, R) of the positives down to and with it.
        alarms: (G, R) of the negatives down to and with it.
        tied: (G, R) of the negatives tied with it, None when there are none in any group.
        positives, negatives: (R,) in all.
    """

    hits: FloatArray
    found: FloatArray
    alarms: FloatArray
    tied: FloatArray | None
    positives: FloatArray
    negatives: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RankSums:
    """The sparse sums behind `Ranks` of L labels.

    Attributes:
        operator: Rows a label: between, tied and hit of each group in turn, then the negatives below all.
        groups: (L,) groups of each label.
        ties: Whether any negative is tied with a positive, by label.
    """

    operator: csr_array
    groups: tuple[int, ...]
    ties: tuple[bool, ...]

    @classmethod
    def of(cls, questions: Sequence[tuple[FloatArray, FloatArray]]) -> RankSums:
        """Sort once.

        Args:
            questions: (n,) labels, NaN where a sample takes no part, and (n,) probabilities.
        """
        orders, bounds, groups, ties = [], [np.zeros(1, dtype=np.int64)], [], []
        for target, p in questions:
            order, ends = _segments(target, p)
            orders.append(order)
            bounds.append(ends + bounds[-1][-1])
            groups.append(len(ends) // 3)
            ties.append(bool((np.diff(np.r_[0, ends])[1::3] > 0).any()))
        indices, indptr = np.concatenate(orders), np.concatenate(bounds)
        shape = (len(indptr) - 1, len(questions[0][0]))
        ones = np.ones(len(indices), dtype=np.float32)
        operator = csr_array((ones, indices.astype(np.int32), indptr.astype(np.int32)), shape=shape)
        return cls(operator, tuple(groups), tuple(ties))

    def ranks(self, weights: FloatArray) -> Iterator[Ranks]:
        """One label after the other for whole-number weights (n, R)."""
        exact = weights.sum(0).max(initial=0) < _SINGLE_LIMIT
        single = exact and (weights == np.rint(weights)).all()
        sums = self.operator @ (weights.astype(np.float32) if single else weights)
        start = 0
        for count, tie in zip(self.groups, self.ties, strict=True):
            rows = sums[start : start + 3 * count + 1]
            start += 3 * count + 1
            between, tied, hits = rows[0:-1:3], rows[1:-1:3], rows[2:-1:3]
            found = np.cumsum(hits, axis=0)
            alarms = np.cumsum(between + tied if tie else between, axis=0)
            none = np.zeros(weights.shape[1])
            positives = found[-1].astype(np.float64) if count else none
            negatives = (alarms[-1] if count else none) + rows[-1].astype(np.float64)
            yield Ranks(hits, found, alarms, tied if tie else None, positives, negatives)


def one_against_rest(scores: Scores) -> RankSums:
    """Of every scored label, made once."""
    return scores.cached("ranks", lambda: RankSums.of([(scores.target[:, k], scores.probability[:, k]) for k in scores.positives]))


def auroc(ranks: Ranks) -> FloatArray:
    """(R,) share of pairs of a positive and a negative in the right order; ties count half."""
    lost = np.einsum("gr,gr->r", ranks.hits, ranks.alarms, dtype=np.float64)
    if ranks.tied is not None:
        lost -= np.einsum("gr,gr->r", ranks.hits, ranks.tied, dtype=np.float64) / 2
    pairs = ranks.positives * ranks.negatives
    return ratio(pairs - lost, pairs)


def auprc(ranks: Ranks) -> FloatArray:
    """(R,) average precision: precision at every positive, not interpolated."""
    called = ranks.found.astype(np.float64) + ranks.alarms
    called[called == 0] = 1.0
    gained = np.einsum("gr,gr->r", ranks.hits, ranks.found / called)
    return ratio(gained, ranks.positives)


def _areas(scores: Scores, weights: FloatArray) -> FloatArray:
    """(2, L, R) AUROC and AUPRC."""
    found = [(auroc(r), auprc(r)) for r in one_against_rest(scores).ranks(weights)]
    return np.stack(found, axis=1)


AREAS = PerLabel(
    (Metric("auroc", "higher", _ONE_CLASS, 0, 1), Metric("auprc", "higher", _NO_POSITIVE, 0, 1)),
    _areas,
)


def _segments(target: FloatArray, p: FloatArray) -> tuple[IntArray, IntArray]:
    """Samples by falling probability, negatives first where equal, and the ends of the 3 G + 1 runs they fall into."""
    known = np.flatnonzero(~np.isnan(target))
    order = known[np.lexsort((target[known], -p[known]))]
    q, positive = p[order], target[order] > 0
    new = np.ones(len(order), dtype=bool)
    new[1:] = q[1:] != q[:-1]
    group_start = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    first = np.flatnonzero(positive & (new | np.r_[True, ~positive[:-1]][: len(order)]))
    after = np.r_[np.flatnonzero(new), len(order)]
    last = after[np.searchsorted(after, first, side="right")] if len(first) else first
    return order, np.r_[np.stack([group_start[first], first, last], axis=1).ravel(), len(order)]
