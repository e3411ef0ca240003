"""Decisions: F1 by every name and whatever else comes from true and false positives and negatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medmm.metrics.family import Metric, label_name, macro_name
from medmm.metrics.runs import narrow
from medmm.metrics.scores import Scores
from medmm.metrics.undefined import nan_mean, ratio
from medmm.types import FloatArray

_EMPTY = "needs at least one sample"
_NO_CLASS = "the class neither occurs nor is called"
_NO_POSITIVE = "the class does not occur"
_NO_NEGATIVE = "no other class occurs"
_ONE_CLASS = "needs both classes among the samples"
_NOT_CALLED = "the class is never called"
_ALWAYS_CALLED = "the class is always called"
_CONSTANT = "needs two classes among the samples and two among the decisions"
_ONE_SURE_CLASS = "needs two classes among the samples or the decisions"
_NO_ALARM = "needs both classes and a false positive"
_NO_REJECTION = "needs both classes and a true negative"
_NO_ERROR = "needs a false positive and a false negative"


class Counts(NamedTuple):
    """Weighted confusion counts, each (K, R)."""

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray

    def of(self, columns: tuple[int, ...]) -> Counts:
        """Those of some of the classes."""
        return Counts(*(a[list(columns)] for a in self))


class Rate(NamedTuple):
    """A measure of one class's table: name, worst and best value, why undefined, function of `Counts`."""

    name: str
    low: float
    high: float
    undefined: str
    compute: Callable[[Counts], FloatArray]


def counts(scores: Scores, weights: FloatArray) -> Counts:
    """True and false positives and negatives of each class, unknown labels left out."""
    sums = scores.cached("confusion", lambda: _indicators(scores)) @ narrow(weights)
    tp, called, true, total = sums.astype(np.float64).reshape(4, -1, weights.shape[1])
    return Counts(tp, called - tp, true - tp, total - called - true + tp)


def sensitivity(c: Counts) -> FloatArray:
    """True positive rate, also called recall."""
    return ratio(c.tp, c.tp + c.fn)


def specificity(c: Counts) -> FloatArray:
    """True negative rate."""
    return ratio(c.tn, c.tn + c.fp)


def f1(c: Counts) -> FloatArray:
    """Harmonic mean of precision and sensitivity."""
    return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def mcc(c: Counts) -> FloatArray:
    """Correlation of decision and truth of each class (Matthews 1975)."""
    return _agreement(*_two_classes(c))[0]


def kappa(c: Counts) -> FloatArray:
    """Agreement beyond chance of each class (Cohen 1960)."""
    return _agreement(*_two_classes(c))[1]


RATES = (
    Rate("sensitivity", 0, 1, _NO_POSITIVE, sensitivity),
    Rate("specificity", 0, 1, _NO_NEGATIVE, specificity),
    Rate("precision", 0, 1, _NOT_CALLED, lambda c: ratio(c.tp, c.tp + c.fp)),
    Rate("npv", 0, 1, _ALWAYS_CALLED, lambda c: ratio(c.tn, c.tn + c.fn)),
)
"""Shares, which are also averaged over classes."""

AGREEMENTS = (Rate("mcc", -1, 1, _CONSTANT, mcc), Rate("kappa", -1, 1, _ONE_SURE_CLASS, kappa))
"""Of each label if multilabel, else of the task as a whole."""

RATIOS = (
    Rate("youden", -1, 1, _ONE_CLASS, lambda c: sensitivity(c) + specificity(c) - 1),
    Rate("lr_positive", 0, np.inf, _NO_ALARM, lambda c: ratio(sensitivity(c), 1 - specificity(c))),
    Rate("lr_negative", 0, np.inf, _NO_REJECTION, lambda c: ratio(1 - sensitivity(c), specificity(c))),
    Rate("dor", 0, np.inf, _NO_ERROR, lambda c: ratio(c.tp * c.tn, c.fp * c.fn)),
)
"""Of each scored label; not averaged."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Everything that follows from the confusion counts of each class, which one matrix product gives for all replicates.

    Conventions: F1 is averaged over all classes, both if binary; every other measure is that of the scored labels,
    one against the rest. Averages leave out what is undefined.
    """

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """Of the task, then class by class."""
        multilabel = scores.kind == "multilabel"
        overall = [("f1_macro", 0), ("balanced_accuracy", 0), ("accuracy", 0), ("f1_micro", 0), ("f1_weighted", 0)]
        found = [Metric(name, "higher", _EMPTY, low, 1, decision=True) for name, low in overall]
        if multilabel:
            found.append(Metric("f1_samples", "higher", "no sample has or is given a label", 0, 1, decision=True))
        else:
            found += [_metric(rate, rate.name) for rate in AGREEMENTS]
        found += [_metric(rate, macro_name(rate.name)) for rate in _averaged(scores)]
        found += [Metric(f"f1[{label}]", "higher", _NO_CLASS, 0, 1, decision=True) for label in scores.labels]
        found += [_metric(rate, label_name(rate.name, scores.labels[k])) for rate in _each(scores) for k in scores.positives]
        found += [Metric(f"prevalence[{scores.labels[k]}]", "target", _EMPTY, 0, 1) for k in scores.positives]
        return (*found, *_at_prevalence_metrics(scores))

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(M, R)."""
        every = counts(scores, weights)
        scored, multilabel = every.of(scores.positives), scores.kind == "multilabel"
        by_class = f1(every)
        rows = [nan_mean(by_class, 0), _balanced_accuracy(every, multilabel=multilabel), _accuracy(every, multilabel=multilabel)]
        rows += [f1(Counts(*(a.sum(0) for a in every))), _weighted_by_support(by_class, every)]
        rows += (
            [_f1_samples(scores, weights)]
            if multilabel
            else list(_agreement(every.tp.sum(0), every.tp + every.fp, every.tp + every.fn))
        )
        rows += [nan_mean(rate.compute(scored), 0) for rate in _averaged(scores)]
        each = [by_class, *(rate.compute(scored) for rate in _each(scores)), _prevalence(scored)]
        return np.concatenate([np.stack(rows), *each, *_at_prevalence(scores, scored)])


CONFUSION = Confusion()


def _averaged(scores: Scores) -> tuple[Rate, ...]:
    return {"binary": (), "multiclass": RATES, "multilabel": RATES + AGREEMENTS}[scores.kind]


def _each(scores: Scores) -> tuple[Rate, ...]:
    return (*RATES, *(AGREEMENTS if scores.kind == "multilabel" else ()), *RATIOS)


def _metric(rate: Rate, name: str) -> Metric:
    return Metric(name, "lower" if rate.name == "lr_negative" else "higher", rate.undefined, rate.low, rate.high, decision=True)


def _indicators(scores: Scores) -> FloatArray:
    """(4 K, n) whether a sample is a true positive, called, true, known, for each class."""
    known = ~np.isnan(scores.target)
    truth = np.where(known, scores.target, 0.0)
    called = scores.called & known
    return np.ascontiguousarray(np.concatenate([truth * called, called, truth, known], axis=1, dtype=np.float32).T)


def _balanced_accuracy(c: Counts, *, multilabel: bool) -> FloatArray:
    """Mean recall over the classes that occur; over labels the mean of both rates if multilabel."""
    return nan_mean((sensitivity(c) + specificity(c)) / 2 if multilabel else sensitivity(c), 0)


def _accuracy(c: Counts, *, multilabel: bool) -> FloatArray:
    """Share of right decisions; over all labels if multilabel."""
    right, every = (c.tp + c.tn, c.tp + c.tn + c.fp + c.fn) if multilabel else (c.tp, c.tp + c.fn)
    return ratio(right.sum(0), every.sum(0))


def _weighted_by_support(by_class: FloatArray, c: Counts) -> FloatArray:
    support = c.tp + c.fn
    return ratio((np.nan_to_num(by_class) * support).sum(0), support.sum(0))


def _f1_samples(scores: Scores, weights: FloatArray) -> FloatArray:
    """Mean over samples of the F1 of their known labels; samples without a label, true or called, left out."""
    each, defined = scores.cached("f1_samples", lambda: _f1_of_samples(scores))
    return ratio(each @ weights, defined @ weights)


def _f1_of_samples(scores: Scores) -> tuple[FloatArray, FloatArray]:
    known = ~np.isnan(scores.target)
    truth, called = np.where(known, scores.target, 0.0), scores.called & known
    each = ratio(2 * (truth * called).sum(1), truth.sum(1) + called.sum(1))
    return np.nan_to_num(each), (~np.isnan(each)).astype(np.float64)


def _two_classes(c: Counts) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Agreements, and how often each of class and not class was called and true."""
    return c.tp + c.tn, np.stack([c.tp + c.fp, c.tn + c.fn]), np.stack([c.tp + c.fn, c.tn + c.fp])


def _agreement(right: FloatArray, called: FloatArray, true: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlation (Gorodkin 2004) and Cohen's kappa from agreements (...) and marginal counts (C, ...)."""
    total = true.sum(0)
    by_chance = (called * true).sum(0)
    spread = (total**2 - (called**2).sum(0)) * (total**2 - (true**2).sum(0))
    beyond = right * total - by_chance
    return ratio(beyond, np.sqrt(spread)), ratio(beyond, total**2 - by_chance)


def _prevalence(c: Counts) -> FloatArray:
    return ratio(c.tp + c.fn, c.tp + c.fp + c.fn + c.tn)


def _at_prevalence_metrics(scores: Scores) -> list[Metric]:
    """Predictive values where the label is as common as `Scores.prevalence` says (Bayes)."""
    if scores.prevalence is None:
        return []
    return [
        Metric(f"{name}_at_prevalence[{scores.labels[k]},{scores.prevalence[k]:g}]", "higher", undefined, 0, 1, decision=True)
        for name, undefined in (("precision", _NOT_CALLED), ("npv", _ALWAYS_CALLED))
        for k in scores.positives
    ]


def _at_prevalence(scores: Scores, c: Counts) -> list[FloatArray]:
    if scores.prevalence is None:
        return []
    share = np.asarray(scores.prevalence)[list(scores.positives), None]
    hit, clear = sensitivity(c) * share, specificity(c) * (1 - share)
    return [ratio(hit, hit + (1 - share) - clear), ratio(clear, clear + share - hit)]
