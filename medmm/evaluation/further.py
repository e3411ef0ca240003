"""Further questions that a model answers beside its labels, each measured by what is proper to its kind.

Rows are the full arm's as they came, before they are aggregated to units; intervals resample patients. The trivial
model beside each gives everybody the frequencies of the training patients, or their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medmm.errors import PredictionsError
from medmm.evaluation.headline import metrics_of
from medmm.evaluation.policies import Further
from medmm.evaluation.resample import Resampling
from medmm.evaluation.scored import drawn_as, strata_of
from medmm.evaluation.task import Task
from medmm.metrics import Metric, Scores, decide
from medmm.metrics.family import label_name
from medmm.metrics.ordinal import quadratic_kappa, ranked_probability_score
from medmm.metrics.regression import calibration_slope, mean_absolute_error, r_squared
from medmm.metrics.undefined import ratio
from medmm.results import FurtherResult, Value
from medmm.store import Record
from medmm.types import FloatArray, IntArray, Kind

_ECE = "ece[equal_width,15]"
_NAMES = {
    "binary": ("auroc", "f1_macro", "brier", "log_loss", _ECE),
    "multiclass": ("f1_macro", "auroc_macro", "brier", "log_loss", "ece_macro[equal_width,15]"),
    "ordinal": ("f1_macro", "log_loss", "ece_macro[equal_width,15]"),
}
_SCORED_AS: dict[str, Kind] = {"binary": "binary", "multilabel": "multilabel"}
_OF_LABEL = ("auroc", "f1", "brier", _ECE)
_INFINITE = float("inf")

_KAPPA = Metric("kappa[quadratic]", "higher", "truth and answers are one and the same class", -1, 1, decision=True)
_RPS = Metric("rps", "lower", "no samples", 0, 1)
_MAE = Metric("mae", "lower", "no samples", 0, _INFINITE)
_R2 = Metric("r2", "higher", "all true values are alike", -_INFINITE, 1)
_SLOPE = Metric("cal_slope", "target", "all answers are alike", -_INFINITE, _INFINITE)
_Measure = Callable[["_Answers", Resampling], dict[str, Value]]


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Of n samples.

    Attributes:
        about: What is asked.
        target: (n, K) 0, 1 or NaN, or (n, 1) values.
        predicted: (n, K) probabilities, or (n, 1) values.
        cluster: (n,) index of whom intervals resample.
    """

    about: Further
    target: FloatArray
    predicted: FloatArray
    cluster: IntArray


def measure_further(asked: Sequence[Further], rows: Sequence[Record], task: Task) -> tuple[FurtherResult, ...]:
    """Measure every further question.

    Args:
        asked: What the rows answer.
        rows: Of the full arm in the scored split, failures among them.
        task: How intervals are made.

    Raises:
        PredictionsError: If a truth or an answer is not of its kind.
    """
    if not asked:
        return ()
    place = {name: i for i, name in enumerate(sorted({drawn_as(r, task) for r in rows}))}
    resampling = Resampling.of(len(place), task.intervals, strata_of(rows, place, task))
    return tuple(_measured(about, rows, place, task, resampling) for about in asked)


def _measured(about: Further, rows: Sequence[Record], place: dict[str, int], task: Task, resampling: Resampling) -> FurtherResult:
    known = [(r, target) for r in rows if not np.isnan(target := _truth(about, r)).all()]
    answered = [(r, target, p) for r, target in known if (p := _answer(about, r)) is not None]
    said = FurtherResult(
        name=about.name, kind=about.kind, labels=about.labels, calibrated=about.calibrated, n=len(answered),
        patients=len({r.patient_id for r, *_ in answered}), unanswered=len(known) - len(answered),
    )  # fmt: skip
    if not answered:
        return said
    target, predicted = np.stack([t for _, t, _ in answered]), np.stack([p for *_, p in answered])
    cluster = np.array([place[drawn_as(r, task)] for r, *_ in answered])
    alike, what = _baseline(about, target)
    measure = _MEASURES.get(about.kind, _of_classes)
    return said.model_copy(
        update={
            "metrics": measure(_Answers(about, target, predicted, cluster), resampling),
            "trivial": measure(_Answers(about, target, np.tile(alike, (len(target), 1)), cluster), resampling),
            "trivial_what": what,
        }
    )


def _truth(about: Further, row: Record) -> FloatArray:
    """(K,) 0 or 1 for each label, or (1,) value; NaN where it is not known."""
    if about.kind == "multilabel":
        cells = [row.columns.get(f"{about.name}__{label}", "") for label in about.labels]
        return np.array([_number(cell, ("", "0", "1", "0.0", "1.0"), about) for cell in cells])
    cell = row.columns.get(about.name, "")
    if about.kind == "regression" or not cell:
        return np.array([_number(cell, None, about)] * max(len(about.labels), 1))
    if cell not in about.labels:
        msg = f"Expected {', '.join(about.labels)}, or nothing, as truth of {about.name}; got something else. Correct the table."
        raise PredictionsError(msg)
    return np.array([float(cell == label) for label in about.labels])


def _answer(about: Further, row: Record) -> FloatArray | None:
    """(K,) probabilities or (1,) value; None when the row has none."""
    names = [f"task__{about.name}__{label}" for label in about.labels] or [f"task__{about.name}"]
    cells = [row.columns.get(name, "") for name in names]
    return np.array([_number(cell, None, about) for cell in cells]) if all(cells) else None


def _number(cell: str, allowed: tuple[str, ...] | None, about: Further) -> float:
    try:
        found = float(cell) if cell else np.nan
    except ValueError:
        found = np.inf
    if np.isinf(found) or (cell and np.isnan(found)) or (allowed is not None and cell not in allowed):
        msg = f"Expected finite numbers, 0 or 1 for a label, or nothing for {about.name}; got something else. Correct the table."
        raise PredictionsError(msg)
    return found


def _baseline(about: Further, target: FloatArray) -> tuple[FloatArray, str]:
    """(K,) what everybody gets from the trivial model, and how in words."""
    what = "mean" if about.kind == "regression" else "frequencies"
    if about.baseline:
        return np.array(about.baseline), f"everybody gets the {what} of the training data"
    known = (~np.isnan(target)).sum(0)
    alike = np.where(known > 0, np.nansum(target, axis=0) / np.maximum(known, 1), 0.5)
    return alike, f"everybody gets the {what} of the scored samples themselves"


def _of_classes(a: _Answers, resampling: Resampling) -> dict[str, Value]:
    kind, labels = _SCORED_AS.get(a.about.kind, "multiclass"), a.about.labels
    scores = Scores(kind, labels, a.target, a.predicted, decide(kind, a.predicted), a.cluster)
    each = ("f1_macro", "auroc_macro", *(label_name(n, label) for label in labels for n in _OF_LABEL))
    wanted = _NAMES.get(a.about.kind, each)
    return resampling.values(scores, [m for m in metrics_of(scores) if m.name in wanted])


def _of_order(a: _Answers, resampling: Resampling) -> dict[str, Value]:
    truth, called, classes = a.target.argmax(1), a.predicted.argmax(1), len(a.about.labels)
    apart = ranked_probability_score(a.target, a.predicted)
    return {
        **_valued(_KAPPA, lambda w: quadratic_kappa(truth, called, classes, w), a, resampling),
        **_valued(_RPS, lambda w: ratio(apart @ w, w.sum(0)), a, resampling),
        **_of_classes(a, resampling),
    }


def _of_quantity(a: _Answers, resampling: Resampling) -> dict[str, Value]:
    truth, predicted = a.target[:, 0], a.predicted[:, 0]
    return {
        **_valued(_MAE, lambda w: mean_absolute_error(truth, predicted, w), a, resampling),
        **_valued(_R2, lambda w: r_squared(truth, predicted, w), a, resampling),
        **_valued(_SLOPE, lambda w: calibration_slope(truth, predicted, w), a, resampling),
    }


def _valued(metric: Metric, compute: Callable[[FloatArray], FloatArray], a: _Answers, resampling: Resampling) -> dict[str, Value]:
    return {metric.name: resampling.value(metric, resampling.computed(metric.name, compute, a.cluster))}


_MEASURES: dict[str, _Measure] = {"ordinal": _of_order, "regression": _of_quantity}
