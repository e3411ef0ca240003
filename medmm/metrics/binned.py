"""Calibration error in bins: ECE in its variants, its worst bin, and Hosmer and Lemeshow's statistic.

A bin's gap is its observed frequency minus its mean probability. Whatever the norm, the estimate is biased: a perfectly
calibrated model has gaps by chance alone, the more the fewer samples a bin holds. Hence the null band of
`medmm.metrics.null` beside every one of them, and one estimate that takes the bias out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats
from scipy.sparse import csr_array, vstack

from medmm.metrics.column import Column, by_column, column
from medmm.metrics.family import Metric, PerLabel
from medmm.metrics.runs import narrow, sums_of_runs
from medmm.metrics.scores import Scores
from medmm.types import FloatArray, IntArray

Binning = Literal["equal_width", "equal_mass"]

ECE_BINS = 15
"""Bins of equal width of the ECE that verdicts use."""

MASS_BINS = 10
"""Bins of equal mass."""

_ROUNDING = 1e-9

_EMPTY = "needs at least one sample"
_CERTAIN = "needs at least one sample and no group of samples that are all certain and partly wrong"


class Bins(NamedTuple):
    """Weighted sums over samples in each bin, each (B, R), or (B, L, R) of several labels."""

    weight: FloatArray
    positive: FloatArray
    probability: FloatArray


def bin_index(p: FloatArray, bins: int, binning: Binning) -> IntArray:
    """(n,) bin of each probability; p = 0 and p = 1 belong to the first and last bin."""
    if binning == "equal_width":
        return np.asarray(np.searchsorted(_inner_edges(bins), p, side="left"))
    lowest = stats.rankdata(p, method="min").astype(int)
    return np.asarray(-(-lowest * bins // len(p)) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class WidthBins:
    """The sparse sums over right-closed bins of equal width on [0, 1], of L labels.

    Attributes:
        whole: Rows by what (samples, positives), bin and label.
        probability: Rows by bin and label.
        labels: L.
    """

    whole: csr_array
    probability: csr_array
    labels: int

    @classmethod
    def of(cls, columns: Sequence[Column], samples: int, bins: int) -> WidthBins:
        """Bin once.

        Args:
            columns: Labels.
            samples: n, how many weights there are.
            bins: B.
        """
        inner = [np.searchsorted(c.p, _inner_edges(bins), side="right") for c in columns]
        edges = np.stack([np.r_[0, i, len(c.p)] for i, c in zip(inner, columns, strict=True)], axis=1)
        edges = edges + np.cumsum([0, *(len(c.p) for c in columns)])[:-1]
        rows, y, p = (np.concatenate([getattr(c, name) for c in columns]) for name in ("rows", "y", "p"))
        starts, ends = edges[:-1].ravel(), edges[1:].ravel()
        count = sums_of_runs(rows, starts, ends, samples)
        positive = sums_of_runs(rows, starts, ends, samples, y.astype(np.float32))
        positive.eliminate_zeros()
        return cls(vstack([count, positive], format="csr"), sums_of_runs(rows, starts, ends, samples, p), len(columns))

    def sums(self, weights: FloatArray) -> Bins:
        """Each (B, L, R)."""
        shape = (-1, self.labels, weights.shape[1])
        weight, positive = np.split((self.whole @ narrow(weights)).astype(np.float64), 2)
        return Bins(weight.reshape(shape), positive.reshape(shape), (self.probability @ weights).reshape(shape))


def ranked(column: Column, weights: FloatArray) -> Bins:
    """Sums over the samples of lower or equal probability, for each group of equal ones; a row of zeros before."""
    sums = [column.sums(v, column.starts, weights) for v in (np.ones_like(column.p), column.y, column.p)]
    return Bins(*(np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(s, axis=0)]) for s in sums))


def equal_mass(below: Bins, bins: int) -> Bins:
    """Bins of equal numbers of samples, equal probabilities kept together in the bin of the lowest rank.

    Args:
        below: From `ranked`.
        bins: Number of bins.
    """
    total = below.weight[-1]
    limits = np.floor(np.arange(1, bins)[:, None] * total / bins)
    return _between(below, _first_at_least(below.weight[:-1], limits))


def quantile_groups(column: Column, below: Bins, groups: int) -> Bins:
    """Right-closed groups between quantiles (type 7) of the probabilities, as R's `cut(p, quantile(p, ...))`."""
    total = below.weight[-1]
    step, over = np.divmod(np.arange(1, groups)[:, None] * np.maximum(total - 1, 0), groups)
    values = np.append(column.p[column.starts], np.inf)
    low = values[_first_at_least(below.weight[1:], step + 1)]
    high = values[_first_at_least(below.weight[1:], np.minimum(step + 2, total))]
    with np.errstate(invalid="ignore"):  # a replicate without a sample
        edges = np.where(over > 0, low + (high - low) * (over / groups), low)
    return _between(below, np.minimum(np.searchsorted(values, edges, side="right"), len(column.starts)))


def gaps(bins: Bins, total: FloatArray, norm: Literal["l1", "l2", "max"]) -> FloatArray:
    """(R,) mean absolute, root mean square or largest gap; NaN without a sample."""
    off = np.abs(bins.positive - bins.probability)
    with np.errstate(divide="ignore", invalid="ignore"):
        if norm == "l1":
            return np.where(total > 0, off.sum(0) / total, np.nan)
        gap = np.where(bins.weight > 0, off / bins.weight, 0.0)
        if norm == "max":
            return np.where(total > 0, gap.max(0), np.nan)
        return np.where(total > 0, np.sqrt((gap * off).sum(0) / total), np.nan)


def debiased(bins: Bins, total: FloatArray) -> FloatArray:
    """(R,) root mean square gap less what chance alone adds to its square, 0 if that is more (Kumar et al. 2019).

    Its square is the bias-corrected reliability of Broecker and Ferro (2012). A bin of one sample says nothing about
    its own noise and counts as without a gap.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        frequency = bins.positive / bins.weight
        chance = frequency * (1 - frequency) / (bins.weight - 1)
        square = ((bins.positive - bins.probability) / bins.weight) ** 2 - chance
        mean = np.where(bins.weight > 1, square * bins.weight, 0.0).sum(0) / total
        return np.where(total > 0, np.sqrt(np.maximum(mean, 0.0)), np.nan)


def hosmer_lemeshow(groups: Bins) -> FloatArray:
    """(R,) chi-square over groups; NaN where a group's probabilities leave no room for the labels it has."""
    off = np.abs(groups.positive - groups.probability)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = groups.probability * (1 - groups.probability / groups.weight)
        term = np.where(off < _ROUNDING, 0.0, np.where(variance > _ROUNDING, off**2 / variance, np.nan))
    return np.where(groups.weight.sum(0) > 0, term.sum(0), np.nan)


def width_errors(bins: Bins) -> FloatArray:
    """(3, ...) ECE, its l2 form and the largest gap, of sums (B, ...)."""
    total = bins.weight.sum(0)
    return np.stack([gaps(bins, total, "l1"), gaps(bins, total, "l2"), gaps(bins, total, "max")])


def mass_errors(column: Column, weights: FloatArray, bins: int = MASS_BINS) -> FloatArray:
    """(3, R) ECE and debiased l2 error in bins of equal mass, and Hosmer and Lemeshow's statistic."""
    if not len(column.p):
        return np.full((3, weights.shape[1]), np.nan)
    below = ranked(column, weights)
    found, total = equal_mass(below, bins), below.weight[-1]
    return np.stack([gaps(found, total, "l1"), debiased(found, total), hosmer_lemeshow(quantile_groups(column, below, bins))])


@dataclass(frozen=True, slots=True)
class TopLabel:
    """Calibration error of the most probable class: is it right as often as it claims? Not for multilabel tasks."""

    bins: int = ECE_BINS

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """One metric, none if multilabel."""
        name = f"ece_top_label[equal_width,{self.bins}]"
        return () if scores.kind == "multilabel" else (Metric(name, "lower", _EMPTY, 0, 1, null=True),)

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(1, R)."""
        if scores.kind == "multilabel":
            return np.empty((0, weights.shape[1]))
        made = scores.cached("width bins of the top label", lambda: WidthBins.of([_top_label(scores)], len(scores), self.bins))
        found = made.sums(weights)
        return gaps(found, found.weight.sum(0), "l1")


def _width_bins(scores: Scores) -> WidthBins:
    columns = [column(scores, k) for k in scores.positives]
    return scores.cached("width bins", lambda: WidthBins.of(columns, len(scores), ECE_BINS))


def _top_label(scores: Scores) -> Column:
    top = scores.probability.argmax(1)
    samples = np.arange(len(top))
    return Column.of(scores.target[samples, top], scores.probability[samples, top])


def _inner_edges(bins: int) -> FloatArray:
    return np.linspace(0, 1, bins + 1)[1:-1]


def _first_at_least(rising: FloatArray, limits: FloatArray) -> IntArray:
    """For each replicate, the first of its rising values (G, R) that reaches each limit (L, R); G if none."""
    columns = np.ascontiguousarray(rising.T)
    return np.stack([np.searchsorted(c, limit) for c, limit in zip(columns, limits.T, strict=True)], axis=1)


def _between(below: Bins, inner: IntArray) -> Bins:
    """Sums of the bins between inner bounds (B - 1, R), which are rows of `below`."""
    ends = np.full((1, inner.shape[1]), len(below.weight) - 1)
    bounds = np.concatenate([np.zeros_like(ends), inner, ends])
    return Bins(*(np.diff(np.take_along_axis(b, bounds, axis=0), axis=0) for b in below))


EQUAL_WIDTH = PerLabel(
    (
        Metric(f"ece[equal_width,{ECE_BINS}]", "lower", _EMPTY, 0, 1, null=True),
        Metric(f"ece_l2[equal_width,{ECE_BINS}]", "lower", _EMPTY, 0, 1, null=True),
        Metric(f"mce[equal_width,{ECE_BINS}]", "lower", _EMPTY, 0, 1, null=True),
    ),
    lambda scores, weights: width_errors(_width_bins(scores).sums(weights)),
)
EQUAL_MASS = PerLabel(
    (
        Metric(f"ece[equal_mass,{MASS_BINS}]", "lower", _EMPTY, 0, 1, null=True),
        Metric(f"ece_l2_debiased[equal_mass,{MASS_BINS}]", "lower", _EMPTY, 0, 1, null=True),
        Metric(f"hosmer_lemeshow[{MASS_BINS}]", "lower", _CERTAIN, 0, np.inf, null=True),
    ),
    by_column(mass_errors),
)
TOP_LABEL = TopLabel()
