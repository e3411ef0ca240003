"""From predictions to what is measured: the rows of the scored split, who is drawn, and one side an arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.arms import worse_version
from medmm.evaluation.fit import Fitted, check_label_space, fit_parts
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.sides import Side, build_sides, prevalence_side
from medmm.evaluation.task import Task
from medmm.evaluation.units import to_units
from medmm.store import FULL_ARM, Record
from medmm.types import IntArray

_LABEL = "label"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The scored split of some predictions, ready to be measured.

    Attributes:
        units: The predictions, one row a unit.
        stated: Rows of the full arm in the scored split as they came, before aggregation.
        rows: Units of the scored split, failures among them.
        split: Its name, `all` where rows name none.
        patients: Index of whom intervals resample.
        sides: One an arm, the full one first, the class frequencies last.
        worse: Arms of worse versions of the samples.
        fitted: Thresholds and recalibration in use.
    """

    units: Predictions
    stated: tuple[Record, ...]
    rows: tuple[Record, ...]
    split: str
    patients: dict[str, int]
    sides: tuple[Side, ...]
    worse: tuple[Side, ...]
    fitted: Fitted

    @classmethod
    def of(cls, predictions: Predictions, task: Task, fitted: Fitted | None = None) -> Scored:
        """Choose, aggregate, recalibrate, decide.

        Args:
            predictions: Rows as they came.
            task: How.
            fitted: From an earlier fit; None to fit what the task asks for.

        Raises:
            TaskError: If something would be fitted on a split that is not there.
            LeakageError: If something was fitted on patients that are scored.
            PredictionsError: If there is nothing to score.
        """
        units = to_units(predictions, task)
        rows = of_split(units.records, task.split)
        usable = [r for r in rows if not r.failed and any(t is not None for t in r.target)]
        if not any(r.arm == FULL_ARM for r in usable):
            msg = (
                f"Expected labelled predictions in the split {task.split!r}, in no arm or the arm {FULL_ARM}; there are none. "
                "State another split in the task, or leave the arm column out."
            )
            raise PredictionsError(msg)
        fitted = fit_parts(units, task) if fitted is None else fitted
        check_label_space(fitted, units)
        patients = {name: i for i, name in enumerate(sorted({drawn_as(r, task) for r in usable}))}
        sides = build_sides(units, usable, [patients[drawn_as(r, task)] for r in usable], task, fitted)
        return cls(
            units=units,
            stated=tuple(r for r in of_split(predictions.records, task.split) if r.arm == FULL_ARM),
            rows=tuple(rows),
            split=task.split if any(r.split for r in rows) else "all",
            patients=patients,
            sides=(*(s for s in sides if not worse_version(s.name)), prevalence_side(units, sides[0])),
            worse=tuple(s for s in sides if worse_version(s.name)),
            fitted=fitted,
        )


def strata_of(rows: Iterable[Record], place: Mapping[str, int], task: Task) -> IntArray | None:
    """(P,) stratum of each patient that is drawn, None without strata: a cell of the task's column, or the label.

    Raises:
        TaskError: If a patient stands in two strata, or there is no such column.
    """
    column = task.intervals.strata
    if not column:
        return None
    found: dict[int, object] = {}
    for r in rows:
        if column != _LABEL and column not in r.columns:
            msg = f"Expected the strata column {column!r} in the predictions; there is none."
            raise TaskError(msg)
        cell = r.target if column == _LABEL else r.columns[column]
        if found.setdefault(place[drawn_as(r, task)], cell) != cell:
            msg = f"Expected every patient within one stratum of {column!r}; some stand in two. Choose another column."
            raise TaskError(msg)
    return np.asarray(np.unique([repr(found[i]) for i in range(len(place))], return_inverse=True)[1])


def drawn_as(record: Record, task: Task) -> str:
    """Whom a bootstrap draws when it draws this row.

    Raises:
        TaskError: If the task draws by a column and the row has nothing there.
    """
    by = task.intervals.cluster
    if by in ("patient", "row"):
        return record.patient_id if by == "patient" else record.sample_id
    if not record.columns.get(by):
        msg = f"Expected the cluster column {by!r} filled in for every scored sample; it is not. State another or fill it in."
        raise TaskError(msg)
    return record.columns[by]


def of_split(records: Sequence[Record], split: str) -> list[Record]:
    """Rows of a split; all where none names its split."""
    named = any(r.split for r in records)
    return [r for r in records if not named or r.split == split]
