"""`medmm eval fit`: thresholds, recalibration and prediction sets from a tuning split, never from the scored one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medmm.errors import TaskError
from medmm.evaluation.arms import worse_version
from medmm.evaluation.fitted import (
    FittedConformal,
    FittedRecalibration,
    FittedThresholds,
    describe_source,
    logit_array,
    probability_array,
    read_fitted,
    target_array,
    write_fitted,
)
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.task import Task
from medmm.metrics.conformal import fit_sets
from medmm.metrics.recalibration import fit, recalibrators
from medmm.metrics.recalibration.by_pattern import ByPattern, fit_by_pattern
from medmm.metrics.thresholds import best_thresholds
from medmm.store import FULL_ARM, Record
from medmm.types import FloatArray

_THRESHOLDS, _RECALIBRATION, _CONFORMAL = "thresholds.json", "recalibration.json", "conformal.json"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted, None where nothing was."""

    thresholds: FittedThresholds | None = None
    recalibration: FittedRecalibration | None = None
    conformal: FittedConformal | None = None

    def parts(self) -> dict[str, FittedThresholds | FittedRecalibration | FittedConformal]:
        """What there is, by file name."""
        all_parts = {_THRESHOLDS: self.thresholds, _RECALIBRATION: self.recalibration, _CONFORMAL: self.conformal}
        return {name: part for name, part in all_parts.items() if part is not None}

    def write(self, folder: Path) -> None:
        """Write what there is as JSON files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in self.parts().items():
            write_fitted(part, folder / name)

    @classmethod
    def read(cls, folder: Path) -> Fitted:
        """What lies in a folder.

        Raises:
            PredictionsError: If a file is damaged.
        """
        return cls(
            read_fitted(FittedThresholds, folder / _THRESHOLDS),
            read_fitted(FittedRecalibration, folder / _RECALIBRATION),
            read_fitted(FittedConformal, folder / _CONFORMAL),
        )


def fit_parts(predictions: Predictions, task: Task) -> Fitted:
    """Fit what the task asks for, each part on the split that it names.

    Args:
        predictions: Units, as `to_units` gives them.
        task: How.

    Raises:
        TaskError: If a split has no labelled predictions, or a method does not exist or does not apply.
    """
    recalibration = _recalibration(predictions, task) if task.recalibration.fitted else None
    wanted = task.thresholds.fitted and predictions.kind != "multiclass"
    return Fitted(
        _thresholds(predictions, task, recalibration) if wanted else None,
        recalibration,
        _conformal(predictions, task, recalibration) if task.conformal.methods else None,
    )


def _recalibration(predictions: Predictions, task: Task) -> FittedRecalibration:
    policy, kind = task.recalibration, predictions.kind
    check_method(policy.method)
    arms = _rows_by_arm(predictions, policy.split)
    by_arm = {}
    for arm, rows in arms.items():
        target, logits = target_array(rows), logit_array(rows, kind)
        if policy.per_pattern:
            found = fit_by_pattern(policy.method, kind, target, logits, [r.pattern for r in rows])
        else:
            found = ByPattern(kind, fit(policy.method, kind, target, logits), {})
        by_arm[arm] = found.to_dict()
    source = describe_source([r for rows in arms.values() for r in rows], policy.split)
    return FittedRecalibration(kind=kind, labels=predictions.labels, method=policy.method, source=source, by_arm=by_arm)


def _thresholds(predictions: Predictions, task: Task, recalibration: FittedRecalibration | None) -> FittedThresholds:
    """Chosen on the probabilities that will be scored: after recalibration, where there is one."""
    policy, kind = task.thresholds, predictions.kind
    assert policy.policy != "stated"
    assert policy.policy != "fixed"
    arms = _rows_by_arm(predictions, policy.split)
    by_arm = {}
    for arm, rows in arms.items():
        probability = _mapped(recalibration, arm, rows)
        chosen = best_thresholds(kind, target_array(rows), probability, policy.policy, value=policy.value, cost=policy.cost)
        by_arm[arm] = None if chosen is None else tuple(map(float, chosen))
    source = describe_source([r for rows in arms.values() for r in rows], policy.split)
    return FittedThresholds(kind=kind, labels=predictions.labels, policy=policy.policy, source=source, by_arm=by_arm)


def _conformal(predictions: Predictions, task: Task, recalibration: FittedRecalibration | None) -> FittedConformal:
    policy, kind = task.conformal, predictions.kind
    rows = _rows_by_arm(predictions, policy.split).get(FULL_ARM, [])
    target, probability = target_array(rows), _mapped(recalibration, FULL_ARM, rows)
    sets = [
        fit_sets(kind, target, probability, method=method, score=policy.score, promised=policy.coverage)
        for method in policy.methods
    ]
    source = describe_source(rows, policy.split)
    return FittedConformal(kind=kind, labels=predictions.labels, source=source, sets=tuple(s.to_dict() for s in sets))


def _mapped(recalibration: FittedRecalibration | None, arm: str, rows: Sequence[Record]) -> FloatArray:
    """(n, K) probabilities as they will be scored."""
    mapped = recalibration(arm, rows) if recalibration is not None else None
    return probability_array(rows) if mapped is None else mapped


def _rows_by_arm(predictions: Predictions, split: str) -> dict[str, list[Record]]:
    """Labelled answers of a split, by arm."""
    arms: dict[str, list[Record]] = {}
    for r in predictions.records:
        if r.split == split and not r.failed and not worse_version(r.arm) and any(t is not None for t in r.target):
            arms.setdefault(r.arm, []).append(r)
    if not arms:
        msg = f"Expected labelled predictions of the split {split!r} to fit on; there are none. Predict it, or name another."
        raise TaskError(msg)
    return arms


def check_method(method: str) -> None:
    """Make sure that there is such a method of recalibration.

    Raises:
        TaskError: If there is not.
    """
    if method not in recalibrators:
        msg = f"Expected recalibration by one of {', '.join(recalibrators)}; another method is named."
        raise TaskError(msg)


def check_label_space(fitted: Fitted, predictions: Predictions) -> None:
    """Make sure that what was fitted is about these labels.

    Raises:
        TaskError: If it is not.
    """
    if any((p.kind, p.labels) != (predictions.kind, predictions.labels) for p in fitted.parts().values()):
        msg = f"Expected thresholds and recalibration fitted for {', '.join(predictions.labels)}; they are for other labels."
        raise TaskError(msg)
