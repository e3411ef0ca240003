"""Measures of predictions: pure functions on numpy, each named so that it can be reproduced.

`catalogue` lists every metric that applies to some scores; a metric maps (`Scores`, weights (n, R))
to R values, so a point estimate and a thousand bootstrap replicates are one call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from medmm.metrics import calibration, classification
from medmm.metrics.scores import Scores, decide, one_hot
from medmm.types import FloatArray

__all__ = ["Metric", "Scores", "catalogue", "decide", "one_hot", "point"]

Better = Literal["higher", "lower", "target"]
Compute = Callable[[Scores, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Metric:
    """One named measure.

    Attributes:
        name: Unique, with estimator parameters in brackets, e.g. `ece[equal_width,15]`.
        compute: (scores, weights (n, R)) to (R,), NaN where undefined.
        better: Whether higher or lower is better, or a target value is.
        undefined: Why it may be undefined, for people.
        decision: Whether it depends on the thresholds.
    """

    name: str
    compute: Compute
    better: Better
    undefined: str
    decision: bool = False


_ONE_CLASS = "needs both classes among the samples"
_NO_CLASS = "the class neither occurs nor is called"
_NO_POSITIVE = "the class does not occur"
_NO_NEGATIVE = "no other class occurs"
_NOT_CALLED = "the class is never called"
_NO_FIT = "needs both classes, predictions that differ, and no perfect separation"
_EMPTY = "needs at least one sample"


def catalogue(scores: Scores) -> list[Metric]:
    """All metrics that apply to scores of this kind and these labels, headline ones first."""
    c = classification
    metrics = [
        Metric("f1_macro", c.f1_macro, "higher", _EMPTY, decision=True),
        *_headline("auroc", c.auroc, scores, "higher", _ONE_CLASS),
        *_headline("auprc", c.auprc, scores, "higher", _NO_POSITIVE),
        Metric("brier", calibration.brier, "lower", _EMPTY),
        Metric("log_loss", calibration.log_loss, "lower", _EMPTY),
    ]
    binnings: tuple[tuple[calibration.Binning, int], ...] = (("equal_width", calibration.ECE_BINS), ("equal_mass", 10))
    for binning, bins in binnings:
        compute = partial(calibration.ece, bins=bins, binning=binning)
        metrics += _headline(f"ece[{binning},{bins}]", compute, scores, "lower", _EMPTY)
    for column in scores.positives:
        label = "" if scores.kind == "binary" else f"[{scores.labels[column]}]"
        metrics += [
            Metric(f"cal_slope{label}", partial(_slope, column=column), "target", _NO_FIT),
            Metric(f"cal_intercept{label}", partial(_intercept, column=column), "target", _NO_FIT),
            Metric(f"cal_in_the_large{label}", partial(calibration.calibration_in_the_large, column=column), "target", _ONE_CLASS),
        ]
    metrics += [
        Metric("balanced_accuracy", c.balanced_accuracy, "higher", _EMPTY, decision=True),
        Metric("accuracy", c.accuracy, "higher", _EMPTY, decision=True),
        Metric("f1_micro", c.f1_micro, "higher", _EMPTY, decision=True),
        Metric("f1_weighted", c.f1_weighted, "higher", _EMPTY, decision=True),
    ]
    metrics += [
        Metric(f"f1[{label}]", partial(_column, function=c.f1_by_class, index=k), "higher", _NO_CLASS, decision=True)
        for k, label in enumerate(scores.labels)
    ]
    rates = (
        ("sensitivity", c.sensitivity, _NO_POSITIVE),
        ("specificity", c.specificity, _NO_NEGATIVE),
        ("precision", c.precision, _NOT_CALLED),
    )
    for name, function, undefined in rates:
        metrics += [
            Metric(f"{name}[{scores.labels[k]}]", partial(_column, function=function, index=i), "higher", undefined, decision=True)
            for i, k in enumerate(scores.positives)
        ]
    return metrics


def point(metric: Metric, scores: Scores) -> float:
    """The plain value of a metric; NaN where undefined."""
    return float(metric.compute(scores, np.ones((len(scores), 1)))[0])


def _headline(name: str, function: Compute, scores: Scores, better: Better, undefined: str) -> list[Metric]:
    """The metric itself if binary; else its macro average and one a label."""
    if scores.kind == "binary":
        return [Metric(name, partial(_column, function=function, index=0), better, undefined)]
    stem, bracket, rest = name.partition("[")
    each = [
        Metric(
            f"{stem}[{scores.labels[k]}{',' + rest if bracket else ']'}",
            partial(_column, function=function, index=i),
            better,
            undefined,
        )
        for i, k in enumerate(scores.positives)
    ]
    macro = Metric(f"{stem}_macro{bracket}{rest}", partial(_macro, function=function), better, undefined)
    return [macro, *each]


def _column(scores: Scores, weights: FloatArray, *, function: Compute, index: int) -> FloatArray:
    return np.asarray(function(scores, weights)[:, index])


def _macro(scores: Scores, weights: FloatArray, *, function: Compute) -> FloatArray:
    return classification.nan_mean(function(scores, weights))


def _slope(scores: Scores, weights: FloatArray, *, column: int) -> FloatArray:
    return calibration.slope_intercept(scores, weights, column)[1]


def _intercept(scores: Scores, weights: FloatArray, *, column: int) -> FloatArray:
    return calibration.slope_intercept(scores, weights, column)[0]
