"""What a metric is, and families of metrics that share their work.

A family says which metrics it has for some scores and computes them all for many weightings at once. A column of
weights says how often each sample counts, so a column of ones is the plain metric and a bootstrap replicate is no
other code. Packages add families through entry points of the group `medmm.metrics`; `Single` and `PerLabel` make one
from a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from medmm.metrics.scores import Scores
from medmm.metrics.undefined import nan_mean
from medmm.types import FloatArray

Better = Literal["higher", "lower", "target"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One named measure.

    Attributes:
        name: Unique, with the label or estimator parameters in brackets, e.g. `ece[effusion,equal_width,15]`.
        better: Whether higher or lower is better, or neither is.
        undefined: Why it may be undefined, for people.
        low, high: Bounds of a defined value; may be infinite.
        decision: Whether it depends on the decisions.
        dear: Whether it is slow, so that intervals use fewer replicates.
        null: Whether it is a calibration error, which has a null band: what a perfectly calibrated model would get.
    """

    name: str
    better: Better
    undefined: str
    low: float
    high: float
    decision: bool = False
    dear: bool = False
    null: bool = False


class Family(Protocol):
    """Metrics that share their work: one confusion table, one sort, one binning."""

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """Those that apply to scores of this kind and these labels, headline ones first."""
        ...

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """Values (M, R) of these metrics for float64 whole-number weights (n, R), NaN where undefined."""
        ...


@dataclass(frozen=True, slots=True)
class Single:
    """A family of one metric.

    Attributes:
        metric: The metric.
        compute: (scores, weights (n, R)) to (R,).
    """

    metric: Metric
    compute: Callable[[Scores, FloatArray], FloatArray]

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """The one metric, whatever the scores."""
        del scores
        return (self.metric,)

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(1, R)."""
        return self.compute(scores, weights)[None]


@dataclass(frozen=True, slots=True)
class PerLabel:
    """Metrics that each scored label has, and their means over the labels for which they are defined.

    Attributes:
        templates: The M metrics without a label, e.g. `ece[equal_width,15]`.
        compute: (scores, weights (n, R)) to (M, L, R).
    """

    templates: tuple[Metric, ...]
    compute: Callable[[Scores, FloatArray], FloatArray]

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """The templates if binary, else macro averages, then label by label."""
        if scores.kind == "binary":
            return self.templates
        macros = [replace(m, name=macro_name(m.name)) for m in self.templates]
        return (*macros, *(labelled(m, scores.labels[k]) for m in self.templates for k in scores.positives))

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(M, R) if binary, else (M + M L, R)."""
        return with_macro(scores, self.compute(scores, weights))


def with_macro(scores: Scores, values: FloatArray) -> FloatArray:
    """Rows for `PerLabel`: (M, L, R) to macro averages, unless binary, then label by label."""
    flat = values.reshape(-1, values.shape[-1])
    return flat if scores.kind == "binary" else np.concatenate([nan_mean(values, axis=1), flat])


def label_name(name: str, label: str) -> str:
    """`ece[equal_width,15]` of a label is `ece[label,equal_width,15]`."""
    stem, bracket, rest = name.partition("[")
    return f"{stem}[{label}{',' + rest if bracket else ']'}"


def macro_name(name: str) -> str:
    """`ece[equal_width,15]` over labels is `ece_macro[equal_width,15]`."""
    stem, bracket, rest = name.partition("[")
    return f"{stem}_macro{bracket}{rest}"


def labelled(metric: Metric, label: str) -> Metric:
    """The same metric of one label."""
    return replace(metric, name=label_name(metric.name, label))
