"""`medmm eval compare`: two runs or predictions files, on the samples that both answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import medmm
from medmm.errors import PredictionsError
from medmm.evaluation.compare import Pair, compare, conclude
from medmm.evaluation.fit import Fitted
from medmm.evaluation.headline import compared, metrics_of
from medmm.evaluation.measure import measure_arm
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.resample import Resampling
from medmm.evaluation.score import intervals_of
from medmm.evaluation.scored import Scored, drawn_as, strata_of
from medmm.evaluation.sides import Side
from medmm.evaluation.task import Task
from medmm.metrics import Scores
from medmm.prediction import DISCLAIMER
from medmm.results import RunComparison
from medmm.types import IntArray


def compare_runs(
    predictions: Sequence[Predictions], names: Sequence[str], task: Task, fitted: Sequence[Fitted | None] = (None, None)
) -> RunComparison:
    """Compare the full arms of two sets of predictions.

    Args:
        predictions: Two, about the same labels.
        names: Of the two; the difference is first minus second.
        task: Scored split, tests, margin, intervals.
        fitted: Thresholds and recalibration of each.

    Raises:
        PredictionsError: If they are about other labels, have no sample in common, or disagree on who or what one is.
        TaskError, LeakageError: As for `score`.
    """
    first, second = (_full(p, task, f) for p, f in zip(predictions, fitted, strict=True))
    pair = Pair.of(first, second)
    _check_same(pair)
    place = {name: i for i, name in enumerate(sorted({drawn_as(r, task) for r in pair.first.rows}))}
    pair = _draw_together(pair, names, np.array([place[drawn_as(r, task)] for r in pair.first.rows]))
    metrics = metrics_of(pair.first.scores, task.metrics)
    chosen = compared(metrics, task.comparison)
    with threadpool_limits(limits=1, user_api="blas"):
        resampling = Resampling.of(len(place), task.intervals, strata_of(pair.first.rows, place, task))
        table = compare(pair, chosen, resampling, task.comparison)
        arms = tuple(measure_arm(side, chosen, resampling, thorough=False) for side in (pair.first, pair.second))
    left_out = len(first.rows) + len(second.rows) - 2 * len(pair)
    return RunComparison(
        medmm=medmm.__version__,
        disclaimer=DISCLAIMER,
        task=task.name,
        task_sha256=task.digest,
        kind=predictions[0].kind,
        labels=predictions[0].labels,
        split=task.split if any(r.split for r in pair.first.rows) else "all",
        first=_identity(names[0], predictions[0]),
        second=_identity(names[1], predictions[1]),
        n=len(pair),
        patients=arms[0].patients,
        left_out=left_out,
        intervals=intervals_of(task),
        arms=arms,
        comparisons=conclude(table, chosen, task.comparison, task.intervals.level),
        notes=_notes(pair, left_out, predictions),
    )


def _full(predictions: Predictions, task: Task, fitted: Fitted | None) -> Side:
    return Scored.of(predictions, task, fitted).sides[0]


def _check_same(pair: Pair) -> None:
    """The same labels, patients and truth on both sides."""
    a, b = pair.first.scores, pair.second.scores
    if (a.kind, a.labels) != (b.kind, b.labels):
        msg = f"Expected predictions about the same labels; got {', '.join(a.labels)} and {', '.join(b.labels)}."
        raise PredictionsError(msg)
    if not len(pair):
        msg = "Expected samples that both answered; there are none. Do they name samples alike?"
        raise PredictionsError(msg)
    differ = sum(x.patient_id != y.patient_id for x, y in zip(pair.first.rows, pair.second.rows, strict=True))
    differ += int((~((a.target == b.target) | (np.isnan(a.target) & np.isnan(b.target)))).any(1).sum())
    if differ:
        msg = f"Expected the same patient and label for a sample on both sides; {differ} differ. Correct the tables."
        raise PredictionsError(msg)


def _draw_together(pair: Pair, names: Sequence[str], cluster: IntArray) -> Pair:
    """Both sides with the patients in common numbered alike, and with the names of the runs."""

    def renumbered(side: Side, name: str) -> Side:
        s = side.scores
        scores = Scores(s.kind, s.labels, s.target, s.probability, s.called, cluster, s.prevalence)
        return replace(side, name=name, scores=scores, before=None)

    return Pair(renumbered(pair.first, names[0]), renumbered(pair.second, names[1]))


def _identity(name: str, predictions: Predictions) -> dict[str, str]:
    model = {f"model_{key}": value for key, value in predictions.model.items()}
    return {"name": name, **predictions.source, **model}


def _notes(pair: Pair, left_out: int, predictions: Sequence[Predictions]) -> tuple[str, ...]:
    found = list(dict.fromkeys(note for p in predictions for note in p.notes))
    if left_out:
        found.append(f"{left_out} answers to samples that the other side did not answer were left out.")
    if len(pair) < 100:
        found.append(f"Only {len(pair)} samples in common: a difference would have to be large to show.")
    if pair.first.decisions.policy != pair.second.decisions.policy:
        found.append(
            f"Decisions were made differently ({pair.first.decisions.policy} and {pair.second.decisions.policy}): "
            "differences in F1 and its kin are also those of the thresholds."
        )
    return tuple(found)
