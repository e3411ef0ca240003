"""Predictions to measured results: every metric with its interval, arms side by side, baselines beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import medmm
from medmm.errors import LeakageError, PredictionsError, TaskError
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.task import Task
from medmm.metrics import Metric, Scores, catalogue, decide, evaluate, point
from medmm.metrics.calibration import judge_calibration
from medmm.metrics.diagram import reliability
from medmm.metrics.intervals import patient_weights, percentile_interval
from medmm.metrics.thresholds import best_thresholds
from medmm.prediction import DISCLAIMER
from medmm.results import (
    PREVALENCE_ARM,
    Arm,
    Bin,
    Calibration,
    Comparison,
    Counts,
    Curves,
    Decision,
    FailedSample,
    Intervals,
    Results,
    Value,
)
from medmm.store import FULL_ARM, Record
from medmm.types import AnyArray, FloatArray, IntArray

_COMPARED = ("auroc", "auroc_macro", "f1_macro", "brier", "log_loss")
_ROC_POINTS = 200
_DEAR_REPLICATES = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One arm ready to be measured."""

    name: str
    what: str
    samples: tuple[str, ...]
    scores: Scores
    thresholds: tuple[float, ...] | None
    policy: str
    split: str


def score(predictions: Predictions, task: Task) -> Results:
    """Measure predictions.

    The scored split is the task's where the rows name splits, else everything. Failed rows count as
    failed, unlabelled ones as unlabelled; neither enters a metric. Intervals resample patients, with
    the same draws for every arm.

    Args:
        predictions: What to score.
        task: How.

    Raises:
        TaskError: If thresholds would be chosen on the scored split, or on one that is not there.
        LeakageError: If they would be chosen on patients that are scored.
        PredictionsError: If there is nothing to score.
    """
    rows = _scored_rows(predictions.records, task.split)
    usable = [r for r in rows if not r.failed and any(t is not None for t in r.target)]
    if not any(r.arm == FULL_ARM for r in usable):
        msg = (
            f"Expected labelled predictions in the split {task.split!r}, in no arm or the arm {FULL_ARM}; there are none. "
            "State another split in the task, or leave the arm column out."
        )
        raise PredictionsError(msg)
    patients = {p: i for i, p in enumerate(sorted({r.patient_id for r in usable}))}
    sides = _sides(predictions, usable, patients, task)
    sides.append(_prevalence_side(predictions, sides[0]))
    with threadpool_limits(limits=1, user_api="blas"):  # sums split over threads would differ in their last digits
        replicates = [_replicates(side, len(patients), task) for side in sides]
        arms = tuple(_measure(side, drawn, task) for side, drawn in zip(sides, replicates, strict=True))
        comparisons = _compare(sides, len(patients), task)
    full_rows = [r for r in rows if r.arm == FULL_ARM]
    return Results(
        medmm=medmm.__version__,
        disclaimer=DISCLAIMER,
        task=task.name,
        task_version=task.version,
        task_sha256=task.digest,
        question=task.question,
        intended_use=task.intended_use,
        kind=predictions.kind,
        labels=predictions.labels,
        split=task.split if any(r.split for r in rows) else "all",
        source=predictions.source,
        model=predictions.model,
        counts=_counts(full_rows),
        intervals=Intervals(replicates=task.intervals.replicates, seed=task.intervals.seed, level=task.intervals.level),
        arms=arms,
        comparisons=comparisons,
        failed=tuple(FailedSample(sample_id=r.sample_id, code=r.code) for r in full_rows if r.failed),
        notes=_notes(arms, predictions, usable),
    )


def _scored_rows(records: Sequence[Record], split: str) -> list[Record]:
    named = any(r.split for r in records)
    return [r for r in records if not named or r.split == split]


def _sides(predictions: Predictions, usable: Sequence[Record], patients: dict[str, int], task: Task) -> list[_Side]:
    names = sorted({r.arm for r in usable}, key=lambda a: (a != FULL_ARM, a))
    return [_side(name, [r for r in usable if r.arm == name], predictions, patients, task) for name in names]


def _side(name: str, rows: Sequence[Record], predictions: Predictions, patients: dict[str, int], task: Task) -> _Side:
    target, probability = _arrays(rows)
    called, thresholds, policy, split = _decide(name, rows, probability, predictions, task)
    cluster = np.array([patients[r.patient_id] for r in rows])
    scores = Scores(predictions.kind, predictions.labels, target, probability, called, cluster)
    return _Side(name, _describe(name, rows), tuple(r.sample_id for r in rows), scores, thresholds, policy, split)


def _arrays(rows: Sequence[Record]) -> tuple[FloatArray, FloatArray]:
    target = np.array([[np.nan if t is None else t for t in r.target] for r in rows], dtype=np.float64)
    return target, np.array([r.probability for r in rows], dtype=np.float64)


def _decide(
    name: str, rows: Sequence[Record], probability: FloatArray, predictions: Predictions, task: Task
) -> tuple[AnyArray, tuple[float, ...] | None, str, str]:
    """Decisions of an arm, the thresholds behind them, the policy, and the split they were chosen on."""
    kind, labels = predictions.kind, predictions.labels
    if task.thresholds.policy == "stated" and name in predictions.decided:
        called = np.array([[label in r.called for label in labels] for r in rows])
        stated = predictions.decided[name]
        return called, stated.thresholds, stated.policy, stated.split
    if kind == "multiclass":
        return decide(kind, probability), None, "most_probable", "none"
    if task.thresholds.policy == "max_f1_macro":
        chosen = best_thresholds(kind, *_arrays(_tuning_rows(name, rows, predictions, task.thresholds.split)))
        assert chosen is not None  # only multiclass has none
        return decide(kind, probability, chosen), tuple(map(float, chosen)), "max_f1_macro", task.thresholds.split
    value = task.thresholds.value if task.thresholds.policy == "fixed" else 0.5
    fixed = np.full(1 if kind == "binary" else len(labels), value)
    return decide(kind, probability, fixed), tuple(map(float, fixed)), "fixed", "none: not fitted to data"


def _tuning_rows(name: str, rows: Sequence[Record], predictions: Predictions, split: str) -> list[Record]:
    tuning = [r for r in predictions.records if r.arm == name and r.split == split and not r.failed]
    if not tuning:
        msg = f"Expected predictions of the split {split!r} to choose thresholds on; there are none."
        raise TaskError(msg)
    if shared := {r.patient_id for r in tuning} & {r.patient_id for r in rows}:
        msg = f"Expected thresholds to be chosen on other patients than those scored; {len(shared)} are on both sides."
        raise LeakageError(msg)
    return tuning


def _describe(name: str, rows: Sequence[Record]) -> str:
    patterns = Counter(r.pattern for r in rows if r.pattern)
    used = ", ".join(f"{p} ({n})" for p, n in patterns.most_common())
    allowed = "all inputs the model reads" if name == FULL_ARM else f"{name} alone"
    return f"{allowed}: {used}" if len(patterns) > 1 else allowed


def _prevalence_side(predictions: Predictions, full: _Side) -> _Side:
    """The trivial model: every sample gets how common each label is."""
    scores = full.scores
    if predictions.prevalence is not None:
        share, where = np.asarray(predictions.prevalence), "training data"
    else:
        known = (~np.isnan(scores.target)).sum(0)
        share = np.where(known > 0, np.nansum(scores.target, axis=0) / np.maximum(known, 1), 0.5)
        where = "scored samples themselves"
    probability = np.tile(share, (len(scores), 1))
    if predictions.kind != "multilabel":
        probability /= probability.sum(1, keepdims=True)
    called = decide(predictions.kind, probability)
    constant = Scores(scores.kind, scores.labels, scores.target, probability, called, scores.cluster)
    what = f"no inputs: every sample gets the class frequencies of the {where}"
    return _Side(PREVALENCE_ARM, what, full.samples, constant, None, "most_probable", "none")


def _replicates(side: _Side, patients: int, task: Task) -> dict[str, FloatArray]:
    metrics = [m for _, family in catalogue(side.scores) for m in family]
    found: dict[str, list[FloatArray]] = {m.name: [] for m in metrics}
    done = 0
    for drawn in patient_weights(np.arange(patients), task.intervals.replicates, task.intervals.seed):
        names = [m.name for m in metrics if not m.dear or done < _DEAR_REPLICATES]
        for name, values in evaluate(side.scores, drawn[side.scores.cluster], names).items():
            found[name].append(values)
        done += drawn.shape[1]
    return {name: np.concatenate(values) for name, values in found.items()}


def _measure(side: _Side, replicates: dict[str, FloatArray], task: Task) -> Arm:
    scores = side.scores
    columns = scores.positives
    return Arm(
        name=side.name,
        what=side.what,
        n=len(scores),
        patients=len(np.unique(scores.cluster)),
        positives={label: int(np.nansum(scores.target[:, k])) for k, label in enumerate(scores.labels)},
        metrics={
            m.name: _value(m, scores, replicates[m.name], task.intervals.level) for _, family in catalogue(scores) for m in family
        },
        decision=Decision(policy=side.policy, thresholds=side.thresholds, split=side.split, confusion=_confusion(scores)),
        calibration={scores.labels[k]: _calibration(scores, k, task.intervals.seed) for k in columns},
        curves={scores.labels[k]: Curves(roc=_roc(scores, k)) for k in columns},
    )


def _value(metric: Metric, scores: Scores, replicates: FloatArray, level: float) -> Value:
    value = point(metric.name, scores)
    if np.isnan(value):
        return Value(value=None, reason=metric.undefined, better=metric.better)
    interval = percentile_interval(replicates, level)
    low, high = interval if interval is not None else (None, None)
    return Value(value=value, low=low, high=high, defined=int((~np.isnan(replicates)).sum()), better=metric.better)


def _calibration(scores: Scores, column: int, seed: int) -> Calibration:
    verdict = judge_calibration(scores, column, seed=seed)
    bins = [
        Bin(count=b.count, predicted=b.predicted, observed=b.observed, low=b.low, high=b.high) for b in reliability(scores, column)
    ]
    numbers = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in verdict.to_dict().items()}
    return Calibration(**numbers, bins=tuple(bins))


def _confusion(scores: Scores) -> tuple[tuple[tuple[int, ...], ...], ...]:
    truth, called = scores.target, scores.called.astype(np.float64)
    if scores.kind != "multilabel":
        return (tuple(tuple(int(v) for v in row) for row in truth.T @ called),)
    tables = []
    for k in range(truth.shape[1]):
        known = ~np.isnan(truth[:, k])
        t, c = truth[known, k], called[known, k]
        tables.append(((int(((1 - t) * (1 - c)).sum()), int(((1 - t) * c).sum())), (int((t * (1 - c)).sum()), int((t * c).sum()))))
    return tuple(tables)


def _roc(scores: Scores, column: int) -> tuple[tuple[float, float], ...]:
    order, starts = scores.ranked(column)
    y = scores.target[order, column]
    if not 0 < y.sum() < len(y):
        return ()
    ends = np.r_[starts[1:], len(y)]
    tpr = np.r_[0.0, np.cumsum(y)[ends - 1] / y.sum()]
    fpr = np.r_[0.0, np.cumsum(1 - y)[ends - 1] / (len(y) - y.sum())]
    keep = np.unique(np.linspace(0, len(fpr) - 1, min(_ROC_POINTS, len(fpr))).astype(int))
    return tuple((round(float(fpr[i]), 5), round(float(tpr[i]), 5)) for i in keep)


def _compare(sides: Sequence[_Side], patients: int, task: Task) -> tuple[Comparison, ...]:
    """The first arm against each other one, on the samples both answered."""
    first = sides[0]
    return tuple(c for other in sides[1:] for c in _differences(first, other, patients, task))


def _differences(first: _Side, other: _Side, patients: int, task: Task) -> list[Comparison]:
    rows_a, rows_b = _common(first.samples, other.samples)
    if not len(rows_a):
        return []
    a, b = first.scores.take(rows_a), other.scores.take(rows_b)
    names = [m.name for _, family in catalogue(a) for m in family if m.name in _COMPARED]
    drawn: dict[str, list[FloatArray]] = {name: [] for name in names}
    for block in patient_weights(np.arange(patients), task.intervals.replicates, task.intervals.seed):
        weights = block[a.cluster]
        of_a, of_b = evaluate(a, weights, names), evaluate(b, weights, names)
        for name in names:
            drawn[name].append(of_a[name] - of_b[name])
    found = []
    for name in names:
        difference = point(name, a) - point(name, b)
        interval = percentile_interval(np.concatenate(drawn[name]), task.intervals.level)
        low, high = interval if interval is not None else (None, None)
        decided = None if low is None or high is None else bool(low > 0 or high < 0)
        found.append(
            Comparison(
                first=first.name,
                second=other.name,
                metric=name,
                n=len(rows_a),
                difference=None if np.isnan(difference) else difference,
                low=low,
                high=high,
                excludes_zero=decided,
            )
        )
    return found


def _common(a: Sequence[str], b: Sequence[str]) -> tuple[IntArray, IntArray]:
    place = {sample: i for i, sample in enumerate(b)}
    pairs = [(i, place[sample]) for i, sample in enumerate(a) if sample in place]
    both = np.array(pairs, dtype=int).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _counts(rows: Sequence[Record]) -> Counts:
    failed = Counter(r.code for r in rows if r.failed)
    answered = [r for r in rows if not r.failed]
    scored = [r for r in answered if any(t is not None for t in r.target)]
    return Counts(
        total=len(rows),
        scored=len(scored),
        failed=sum(failed.values()),
        unlabelled=len(answered) - len(scored),
        patients=len({r.patient_id for r in scored}),
        failures=dict(sorted(failed.items())),
    )


def _notes(arms: Sequence[Arm], predictions: Predictions, usable: Sequence[Record]) -> tuple[str, ...]:
    """What a reader must be told before he believes a number."""
    notes = list(predictions.notes)
    full = arms[0]
    rare = [f"{label} ({count})" for label, count in full.positives.items() if count < 20]
    if rare:
        notes.append(f"Fewer than 20 samples of: {', '.join(rare)}. Numbers about them are too imprecise for a headline.")
    if full.patients < full.n:
        notes.append(f"{full.n} samples of {full.patients} patients: intervals resample patients, not samples.")
    if not predictions.decided and predictions.kind != "multiclass" and full.decision.policy == "fixed":
        at = ", ".join(f"{t:g}" for t in full.decision.thresholds or ())
        notes.append(f"The predictions carry no decisions; F1 and its kin are at a fixed threshold of {at}.")
    if predictions.prevalence is None:
        notes.append(
            "The class frequencies of the training data are not known; the prevalence row uses the scored samples themselves."
        )
    trivial = arms[-1].metrics["f1_weighted"].value
    if trivial is not None and trivial > 0.6:
        notes.append(
            f"Always calling the commonest class already has a weighted F1 of {trivial:.3f}: weighted F1 says little here."
        )
    patterns = Counter(r.pattern for r in usable if r.arm == FULL_ARM and r.pattern)
    if len(patterns) > 1:
        listed = ", ".join(f"{p}: {n}" for p, n in patterns.most_common())
        notes.append(f"Not every sample had every input ({listed}).")
    return tuple(notes)
