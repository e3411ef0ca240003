"""One label's samples in order of probability: what measures of calibration are computed from, label by label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
from scipy.sparse import csr_array

from medmm.metrics.family import Metric, labelled
from medmm.metrics.scores import Scores
from medmm.types import FloatArray, IntArray

T = TypeVar("T")

_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """The samples whose label is known, by rising probability.

    Attributes:
        rows: (m,) their places among all samples.
        y: (m,) 0 or 1.
        p: (m,) probability of 1.
        starts: (G,) where each group of equal probabilities begins.
    """

    rows: IntArray
    y: FloatArray
    p: FloatArray
    starts: IntArray
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, target: FloatArray, probability: FloatArray) -> Column:
        """Sort (n,) labels, NaN where unknown, and their probabilities."""
        known = np.flatnonzero(~np.isnan(target))
        y, p = target[known], probability[known]
        order = np.lexsort((y, p))
        y, p = y[order], p[order]
        first = np.ones(len(p), dtype=bool)
        first[1:] = p[1:] != p[:-1]
        return cls(known[order], y, p, np.flatnonzero(first))

    @property
    def log_odds(self) -> FloatArray:
        """(m,) of p, moved by 2.2e-16 from 0 and 1."""
        p = np.clip(self.p, _EPSILON, 1 - _EPSILON)
        return np.asarray(np.log(p) - np.log1p(-p))

    def cached(self, key: str, make: Callable[[], T]) -> T:
        """What does not depend on weights, made once."""
        if key not in self._cache:
            self._cache[key] = make()
        return cast("T", self._cache[key])

    def sums(self, values: FloatArray, starts: IntArray, weights: FloatArray) -> FloatArray:
        """Weighted sums of (m,) values over the segments of samples that begin at `starts`, (S, R)."""
        bounds = np.append(starts, len(self.rows))
        operator = csr_array((values, self.rows, bounds), shape=(len(starts), len(weights)))
        return np.asarray(operator @ weights, dtype=np.float64)


ColumnCompute = Callable[[Column, FloatArray], FloatArray]
"""(column, weights (n, R)) to (M, R), NaN where undefined."""


def column(scores: Scores, index: int) -> Column:
    """One label's column, sorted once."""
    return scores.cached(("column", index), lambda: Column.of(scores.target[:, index], scores.probability[:, index]))


def over_columns(columns: list[Column], compute: ColumnCompute, weights: FloatArray) -> FloatArray:
    """(M, L, R) values."""
    return np.stack([compute(c, weights) for c in columns], axis=1)


def by_column(compute: ColumnCompute) -> Callable[[Scores, FloatArray], FloatArray]:
    """A function of one column as the function (scores, weights) to (M, L, R) that `PerLabel` takes."""
    return lambda scores, weights: over_columns([column(scores, k) for k in scores.positives], compute, weights)


@dataclass(frozen=True, slots=True)
class EachLabel:
    """Metrics of each scored label of which a mean over labels would hide what they are for.

    Attributes:
        templates: The M metrics without a label.
        compute: What they are.
    """

    templates: tuple[Metric, ...]
    compute: ColumnCompute

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """The templates if binary, else label by label."""
        if scores.kind == "binary":
            return self.templates
        return tuple(labelled(m, scores.labels[k]) for m in self.templates for k in scores.positives)

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(M, R) if binary, else (M L, R)."""
        return by_column(self.compute)(scores, weights).reshape(-1, weights.shape[1])
