"""What was true and what was predicted for n samples: the one input of every metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from medmm.errors import NonFiniteError, PredictionsError
from medmm.types import AnyArray, FloatArray, IntArray, Kind

T = TypeVar("T")

_SUM_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Scores:
    """Targets and probabilities of n samples over K classes.

    Attributes:
        kind: Binary, multiclass or multilabel.
        labels: K class names; of a binary task the second is the positive one.
        target: (n, K) 0 or 1; one-hot unless multilabel, where NaN is an unknown label.
        probability: (n, K) in [0, 1]; rows sum to 1 unless multilabel.
        called: (n, K) bool, the decision for each class.
        cluster: (n,) patient index, the unit that intervals resample.
        prevalence: (K,) of each label where the model is to be used, when stated; for values that depend on it.

    Raises:
        PredictionsError, NonFiniteError: If the arrays do not fit together.
    """

    kind: Kind
    labels: tuple[str, ...]
    target: FloatArray
    probability: FloatArray
    called: AnyArray
    cluster: IntArray
    prevalence: tuple[float, ...] | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        n, classes = self.probability.shape
        if self.target.shape != (n, classes) or self.called.shape != (n, classes) or self.cluster.shape != (n,):
            msg = "Expected targets, probabilities, decisions and patients of the same samples; got other shapes."
            raise PredictionsError(msg)
        if classes != len(self.labels) or (self.kind == "binary" and classes != 2):
            msg = f"Expected one column for each of {len(self.labels)} labels (2 if binary); got {classes}."
            raise PredictionsError(msg)
        if not np.isfinite(self.probability).all():
            msg = "Expected finite probabilities; got NaN or infinity. Report those samples as failed instead."
            raise NonFiniteError(msg)
        if (self.probability < 0).any() or (self.probability > 1).any():
            msg = "Expected probabilities within 0 to 1; got values outside. Are they logits?"
            raise PredictionsError(msg)
        if self.kind != "multilabel" and n and np.abs(self.probability.sum(1) - 1).max() > _SUM_TOLERANCE:
            msg = "Expected the probabilities of a sample to sum to 1; they do not. Is the task multilabel?"
            raise PredictionsError(msg)
        if self.prevalence is not None and (len(self.prevalence) != classes or not all(0 <= x <= 1 for x in self.prevalence)):
            msg = f"Expected a prevalence within 0 to 1 for each of {classes} labels; got something else."
            raise PredictionsError(msg)

    def __len__(self) -> int:
        return len(self.probability)

    @property
    def positives(self) -> tuple[int, ...]:
        """Columns that are scored one by one: the positive class if binary, else every class."""
        return (1,) if self.kind == "binary" else tuple(range(len(self.labels)))

    def cached(self, key: Any, make: Callable[[], T]) -> T:
        """What does not depend on weights (orders, operators), made once."""
        if key not in self._cache:
            self._cache[key] = make()
        return cast("T", self._cache[key])

    def ranked(self, column: int) -> tuple[IntArray, IntArray]:
        """Samples with a known label by falling probability, and where each group of equal ones starts."""
        return self.cached(("ranked", column), lambda: self._rank(column))

    def _rank(self, column: int) -> tuple[IntArray, IntArray]:
        known = np.flatnonzero(~np.isnan(self.target[:, column]))
        order = known[np.argsort(-self.probability[known, column], kind="stable")]
        ranked = self.probability[order, column]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(order) else np.empty(0, int)
        return order, starts

    def take(self, rows: AnyArray) -> Scores:
        """The same scores for a subset of samples (indices or mask)."""
        columns = (self.target[rows], self.probability[rows], self.called[rows], self.cluster[rows])
        return Scores(self.kind, self.labels, *columns, self.prevalence)


def one_hot(index: IntArray, classes: int) -> FloatArray:
    """(n, classes) float64 of class indices."""
    return np.eye(classes, dtype=np.float64)[index]


def decide(kind: Kind, probability: FloatArray, thresholds: FloatArray | None = None) -> AnyArray:
    """Turn probabilities into decisions.

    Args:
        kind: Binary (positive when its probability reaches the threshold), multiclass (the most
            probable class) or multilabel (each label by its own threshold).
        probability: (n, K).
        thresholds: (1,) if binary, (K,) if multilabel; 0.5 when None. Not used if multiclass.
    """
    n, classes = probability.shape
    if kind == "multiclass":
        return one_hot(probability.argmax(1), classes).astype(bool)
    limit = np.full(1 if kind == "binary" else classes, 0.5) if thresholds is None else np.asarray(thresholds)
    if kind == "multilabel":
        return np.asarray(probability >= limit)
    positive = probability[:, 1] >= limit[0]
    return np.stack([~positive, positive], axis=1).reshape(n, classes)
