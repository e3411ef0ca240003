"""From rows as they came to the samples that are scored: uncertain labels settled, volumes aggregated to studies or patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import expit, logit, softmax

from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.policies import Unit
from medmm.evaluation.predictions import UNCERTAIN, Decided, Predictions
from medmm.evaluation.task import Task
from medmm.metrics import decide
from medmm.store import Record
from medmm.types import FloatArray, Kind

Target = tuple[float | None, ...]

_TINY = 1e-12
_MIXED = "mixed"


def to_units(predictions: Predictions, task: Task) -> Predictions:
    """Predictions with one row for each unit and arm, and 0, 1 or None for each label.

    Raises:
        TaskError: If the task asks for what cannot be done with these predictions.
        PredictionsError: If rows of one unit contradict each other.
    """
    records = tuple(_settled(r, predictions.kind, task.uncertain) for r in predictions.records)
    if task.unit.sample == "row":
        return replace(predictions, records=records)
    if task.unit.rule == "max" and predictions.kind == "multiclass":
        msg = "Expected the rule mean or logit_mean for a multiclass task; max has no meaning there."
        raise TaskError(msg)
    decided = {a: d for a, d in predictions.decided.items() if d.thresholds is not None or predictions.kind == "multiclass"}
    predictions = replace(predictions, decided=decided)  # calls whose thresholds nobody knows cannot be made again
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((_unit_of(record, task.unit), record.arm), []).append(record)
    units = [_unit(name, rows, predictions, task.unit) for (name, _), rows in groups.items()]
    note = f"{len({r.sample_id for r in records})} rows were aggregated to {len({u.sample_id for u in units})} units "
    note += f"({task.unit.sample}, {task.unit.rule} of the probabilities)."
    return replace(predictions, records=tuple(units), notes=(*predictions.notes, note))


def _settled(record: Record, kind: Kind, policy: str) -> Record:
    if UNCERTAIN not in record.target:
        return record
    if policy == "ignore":
        return replace(record, target=tuple(None if t == UNCERTAIN else t for t in record.target))
    if kind == "multiclass":
        msg = "Expected uncertain: ignore for a multiclass task; an uncertain sample has no one class."
        raise TaskError(msg)
    value = float(policy == "positive")
    target = (1 - value, value) if kind == "binary" else tuple(value if t == UNCERTAIN else t for t in record.target)
    return replace(record, target=target)


def _unit_of(record: Record, unit: Unit) -> str:
    name = record.patient_id if unit.sample == "patient" else record.columns.get("study_id", "")
    if not name:
        msg = "Expected a study_id in every row, as the task aggregates to studies; one is missing."
        raise PredictionsError(msg)
    return name


def _unit(name: str, rows: Sequence[Record], predictions: Predictions, unit: Unit) -> Record:
    """One row out of those of a unit; those that failed do not count unless all did."""
    if len({(r.patient_id, r.split) for r in rows}) > 1:
        msg = "Expected the rows of a unit to be of one patient and one split; they differ. Correct the table."
        raise PredictionsError(msg)
    answered = [r for r in rows if not r.failed]
    target = _joint_truth([r.target for r in rows], predictions.kind, unit.truth)
    base = replace(rows[0], sample_id=name, target=target, columns=_shared(rows), image_sha256="", logit=(), called=())
    if not answered:
        return base
    probability = _joint(np.array([r.probability for r in answered]), predictions.kind, str(unit.rule))
    patterns = {r.pattern for r in answered}
    called = _called(probability, predictions.decided.get(rows[0].arm), predictions)
    pattern = patterns.pop() if len(patterns) == 1 else _MIXED
    return replace(base, code="", message="", pattern=pattern, probability=tuple(map(float, probability)), called=called)


def _joint(p: FloatArray, kind: Kind, rule: str) -> FloatArray:
    """(rows, K) probabilities to (K,)."""
    if rule == "mean":
        joint: FloatArray = p.mean(0)
        return joint
    if kind == "multiclass":
        shared: FloatArray = softmax(np.log(np.clip(p, _TINY, None)).mean(0))
        return shared
    one = p if kind == "multilabel" else p[:, 1:]
    joint = one.max(0) if rule == "max" else expit(logit(np.clip(one, _TINY, 1 - _TINY)).mean(0))
    return joint if kind == "multilabel" else np.r_[1 - joint, joint]


def _joint_truth(targets: Sequence[Target], kind: Kind, policy: str) -> Target:
    """One value a label: the known ones agree, or any positive decides."""
    if policy == "any" and kind == "multiclass":
        msg = "Expected truth: same for a multiclass task; several classes of one unit are no class."
        raise TaskError(msg)
    joint: list[float | None] = []
    for values in zip(*targets, strict=True):
        known = {v for v in values if v is not None}
        if len(known) > 1 and policy == "same":
            msg = "Expected one truth for all rows of a unit; they differ. Correct the table, or state unit.truth: any."
            raise PredictionsError(msg)
        joint.append(max(known) if known else None)
    if kind == "binary" and joint == [1.0, 1.0]:  # a unit with a positive row is positive
        return (0.0, 1.0)
    return tuple(joint)


def _called(probability: FloatArray, decided: Decided | None, predictions: Predictions) -> tuple[str, ...]:
    """Decisions of a unit by the thresholds stated for its rows."""
    if decided is None:
        return ()
    thresholds = None if decided.thresholds is None else np.asarray(decided.thresholds)
    yes = decide(predictions.kind, probability[None], thresholds)[0]
    return tuple(label for label, y in zip(predictions.labels, yes, strict=True) if y)


def _shared(rows: Sequence[Record]) -> dict[str, str]:
    """Cells that all rows of a unit have in common; a column in which they differ is empty."""
    return {column: value if all(r.columns.get(column) == value for r in rows) else "" for column, value in rows[0].columns.items()}
