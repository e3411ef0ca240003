"""The one place where samples are resampled: the same patients are drawn for every arm, subgroup and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from medmm.evaluation.policies import IntervalPolicy
from medmm.metrics import Metric, Scores, evaluate
from medmm.metrics.intervals import (
    Interval,
    basic_interval,
    bca_interval,
    jackknife_weights,
    patient_weights,
    percentile_interval,
)
from medmm.metrics.undefined import ratio
from medmm.results import Value
from medmm.types import AnyArray, FloatArray, IntArray

_BLOCK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Metrics of some samples.

    Attributes:
        points: Plain values, NaN where undefined.
        drawn: (R,) values of each, NaN where undefined; position r is the same draw of patients for all samples.
        without: (G,) values with one group of patients left out, for BCa intervals; else empty.
    """

    points: dict[str, float]
    drawn: dict[str, FloatArray]
    without: dict[str, FloatArray]

    def __sub__(self, other: Estimates) -> Estimates:
        """Paired differences."""
        return Estimates(
            {name: value - other.points[name] for name, value in self.points.items()},
            {name: values - other.drawn[name] for name, values in self.drawn.items()},
            {name: values - other.without[name] for name, values in self.without.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Draws of patients.

    Attributes:
        policy: How intervals are made.
        counts: (P, R) how often each patient was drawn.
        kept: (P, G) jackknife: 0 for the group of patients that is left out.
    """

    policy: IntervalPolicy
    counts: IntArray
    kept: IntArray
    _known: dict[int, tuple[Scores, Estimates]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, patients: int, policy: IntervalPolicy, strata: IntArray | None = None) -> Resampling:
        """Draw once.

        Args:
            patients: How many.
            policy: Replicates and seed.
            strata: (P,) codes within which patients are drawn.
        """
        everybody = np.arange(patients)
        blocks = patient_weights(everybody, policy.replicates, policy.seed, strata)
        counts = np.concatenate([b.astype(np.uint16) for b in blocks], axis=1)
        kept = jackknife_weights(everybody) if policy.method == "bca" else np.empty((patients, 0), dtype=np.int32)
        return cls(policy, counts, kept)

    def estimate(self, scores: Scores, metrics: Sequence[Metric]) -> Estimates:
        """Every metric as it is and in every draw, the dear ones in the first `dear_replicates`; computed once for given scores."""
        _, known = self._known.setdefault(id(scores), (scores, Estimates({}, {}, {})))
        missing = [m for m in metrics if m.name not in known.points]
        names = [m.name for m in missing]
        points = evaluate(scores, np.ones((len(scores), 1)), names) if names else {}
        known.points.update({name: float(values[0]) for name, values in points.items()})
        known.drawn.update(self._replicates(scores, [m.name for m in missing if not m.dear], self.policy.replicates))
        known.drawn.update(self._replicates(scores, [m.name for m in missing if m.dear], self.few))
        if self.kept.size and names:
            known.without.update(evaluate(scores, self.kept[scores.cluster], names))
        wanted = {m.name for m in metrics}
        return Estimates(
            {name: value for name, value in known.points.items() if name in wanted},
            {name: values for name, values in known.drawn.items() if name in wanted},
            {name: values for name, values in known.without.items() if name in wanted},
        )

    def value(self, metric: Metric, found: Estimates) -> Value:
        """A point estimate with its interval."""
        point, drawn = found.points[metric.name], found.drawn[metric.name]
        if np.isnan(point):
            return Value(value=None, reason=metric.undefined, better=metric.better)
        low, high = self._interval(point, drawn, found.without.get(metric.name)) or (None, None)
        return Value(value=point, low=low, high=high, defined=int((~np.isnan(drawn)).sum()), better=metric.better)

    def values(self, scores: Scores, metrics: Sequence[Metric]) -> dict[str, Value]:
        """Every metric with its interval, by name."""
        found = self.estimate(scores, metrics)
        return {m.name: self.value(m, found) for m in metrics}

    def _interval(self, point: float, drawn: FloatArray, without: FloatArray | None) -> Interval | None:
        if self.policy.method == "basic":
            return basic_interval(point, drawn, self.policy.level)
        if self.policy.method == "bca" and without is not None:
            return bca_interval(point, drawn, without, self.policy.level)
        return percentile_interval(drawn, self.policy.level)

    def ratio(self, name: str, numerator: FloatArray, denominator: FloatArray, cluster: IntArray) -> Estimates:
        """A ratio of two sums over n samples."""
        above, below = (np.bincount(cluster, x, minlength=len(self.counts)).astype(np.float64) for x in (numerator, denominator))
        weights: tuple[AnyArray, ...] = (np.ones((len(self.counts), 1)), self.counts, self.kept)
        point, drawn, without = (ratio(above @ w, below @ w) for w in weights)
        return Estimates({name: float(point[0])}, {name: drawn}, {name: without} if self.kept.size else {})

    def computed(self, name: str, compute: Callable[[FloatArray], FloatArray], cluster: IntArray) -> Estimates:
        """What a function makes of (n, R) weights of n samples: (R,)."""
        point = compute(np.ones((len(cluster), 1)))
        drawn = compute(self.counts[cluster].astype(np.float64))
        without = {name: compute(self.kept[cluster].astype(np.float64))} if self.kept.size else {}
        return Estimates({name: float(point[0])}, {name: drawn}, without)

    @property
    def few(self) -> int:
        """Draws for what is slow."""
        return min(self.policy.dear_replicates, self.policy.replicates)

    def blocks(self, scores: Scores, count: int) -> Iterator[FloatArray]:
        """(n, up to 64) weights of the samples, `count` columns in all."""
        for start in range(0, count, _BLOCK):
            yield self.counts[scores.cluster, start : min(start + _BLOCK, count)].astype(np.float64)

    def _replicates(self, scores: Scores, names: Sequence[str], count: int) -> dict[str, FloatArray]:
        found: dict[str, list[FloatArray]] = {name: [] for name in names}
        for weights in self.blocks(scores, count) if names else ():
            for name, values in evaluate(scores, weights, names).items():
                found[name].append(values)
        return {name: np.concatenate(values) for name, values in found.items()}
