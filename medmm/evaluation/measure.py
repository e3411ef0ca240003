"""One side in numbers: every metric with its interval, the decisions, the verdict on calibration, the curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medmm.evaluation.curves import curves_of, risk_of
from medmm.evaluation.resample import Resampling
from medmm.evaluation.sides import Side
from medmm.metrics import Metric, Scores
from medmm.metrics.calibration import CLASSICAL_TESTS, CalibrationVerdict, classical_tests, judge_labels
from medmm.metrics.diagram import reliability
from medmm.metrics.null import null_band
from medmm.results import Arm, Bin, Calibration, CalibrationTest, Decision, Value, WorstCase
from medmm.types import AnyArray, FloatArray, IntArray

_WORST = 20


def measure_arm(side: Side, metrics: Sequence[Metric], resampling: Resampling, *, thorough: bool) -> Arm:
    """Everything about one side.

    Args:
        side: What to measure.
        metrics: Which.
        resampling: Draws for intervals.
        thorough: Whether to add what is slow: null bands and smooth calibration curves.
    """
    scores, decisions = side.scores, side.decisions
    values = resampling.values(scores, metrics)
    if thorough:
        values = _with_null(values, scores, metrics, resampling)
    return Arm(
        name=side.name,
        what=side.what,
        n=len(scores),
        patients=len({r.patient_id for r in side.rows}),
        positives={label: int(np.nansum(scores.target[:, k])) for k, label in enumerate(scores.labels)},
        metrics=values,
        decision=Decision(
            policy=decisions.policy,
            thresholds=decisions.thresholds,
            split=decisions.split,
            n=decisions.n,
            sha256=decisions.sha256,
            confusion=_confusion(scores),
        ),
        calibration={
            scores.labels[k]: _calibration(scores, k, verdict)
            for k, verdict in zip(scores.positives, judge_labels(scores, seed=resampling.policy.seed), strict=True)
        },
        curves={scores.labels[k]: curves_of(scores, k, resampling, smooth=thorough) for k in scores.positives},
        risk_coverage=risk_of(scores),
    )


def failures_as_wrong(
    scores: Scores, failed: FloatArray, cluster: IntArray, metrics: Sequence[Metric], resampling: Resampling
) -> dict[str, Value]:
    """Metrics of decisions with every failed sample of a known label counted as a wrong answer.

    Args:
        scores: The n answered samples.
        failed: (m, K) truth of the others.
        cluster: (n + m,) index of the patient of both.
        metrics: Of which those that depend on decisions are measured.
        resampling: Draws of these patients.
    """
    nothing_known = np.tile(scores.probability.mean(0), (len(failed), 1))
    whole = Scores(
        scores.kind,
        scores.labels,
        np.concatenate([scores.target, failed]),
        np.concatenate([scores.probability, nothing_known]),
        np.concatenate([scores.called, _wrong(scores.kind, failed)]),
        cluster,
        scores.prevalence,
    )
    return resampling.values(whole, [m for m in metrics if m.decision])


def worst_cases(side: Side) -> tuple[WorstCase, ...]:
    """Wrong answers given with the most confidence, at most twenty; one a sample and label if multilabel."""
    scores = side.scores
    if scores.kind == "multilabel":
        cases = _worst_labels(side)
    else:
        truth, called = scores.target.argmax(1), scores.called.argmax(1)
        cases = [
            (float(scores.probability[i, called[i]]), int(i), scores.labels[truth[i]], scores.labels[called[i]])
            for i in np.flatnonzero(truth != called)
        ]
    cases.sort(key=lambda case: (-case[0], side.rows[case[1]].sample_id, case[2]))
    return tuple(
        WorstCase(sample_id=side.rows[i].sample_id, truth=t, called=c, probability=p, pattern=side.rows[i].pattern)
        for p, i, t, c in cases[:_WORST]
    )


def _with_null(values: dict[str, Value], scores: Scores, metrics: Sequence[Metric], resampling: Resampling) -> dict[str, Value]:
    """Beside each measure of calibration error, what chance alone makes of it."""
    names = [m.name for m in metrics if m.null]
    bands = null_band(scores, names, seed=resampling.policy.seed, simulations=resampling.few)
    return values | {
        name: values[name].model_copy(update={"null_low": low, "null_high": high}) for name, (low, high) in bands.items()
    }


def _worst_labels(side: Side) -> list[tuple[float, int, str, str]]:
    scores = side.scores
    rows, columns = np.nonzero(~np.isnan(scores.target) & (scores.called != (scores.target == 1)))
    cases = []
    for i, k in zip(rows, columns, strict=True):
        called, label, p = bool(scores.called[i, k]), scores.labels[k], float(scores.probability[i, k])
        names = (f"no {label}", label)
        cases.append((p if called else 1 - p, int(i), names[not called], names[called]))
    return cases


def _wrong(kind: str, target: AnyArray) -> AnyArray:
    """Decisions that are wrong wherever the truth is known; of several classes none is called."""
    return np.zeros(target.shape, dtype=bool) if kind == "multiclass" else np.asarray(target != 1)


def _calibration(scores: Scores, column: int, verdict: CalibrationVerdict) -> Calibration:
    bins = [
        Bin(count=b.count, predicted=b.predicted, observed=b.observed, low=b.low, high=b.high) for b in reliability(scores, column)
    ]
    numbers = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in verdict.to_dict().items()}
    defined = {
        t.name: CalibrationTest(statistic=t.statistic, degrees=t.degrees, p_value=t.p_value)
        for t in classical_tests(scores, column)
    }
    return Calibration(**numbers, bins=tuple(bins), tests={name: defined.get(name) for name in CLASSICAL_TESTS})


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
