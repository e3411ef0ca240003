"""`medmm eval recalibrate`: a model recalibrated on the few cases of one site, and whether that helped there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medmm.errors import PredictionsError
from medmm.evaluation.fit import check_method
from medmm.evaluation.fitted import FittedRecalibration, describe_source, logit_array, probability_array, target_array
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.scored import of_split
from medmm.evaluation.task import Task
from medmm.evaluation.units import to_units
from medmm.metrics.recalibration.by_pattern import ByPattern
from medmm.metrics.recalibration.local import LocalRecalibration, recalibrate_locally
from medmm.store import FULL_ARM, Record
from medmm.types import FloatArray

_FEWEST_PATIENTS = 30


def recalibrate_site(predictions: Predictions, task: Task, method: str) -> tuple[LocalRecalibration, FittedRecalibration]:
    """Fit on the labelled answers of the full arm, and tell by cross-validation over patients whether it helped.

    Args:
        predictions: The site's cases, of the task's split where rows name splits.
        task: How rows become units, and the seed.
        method: A name in `recalibrators`.

    Raises:
        PredictionsError: If there are fewer than 30 patients, or a label has only one class among them.
        TaskError: If the method does not exist or is not defined for this kind.
    """
    check_method(method)
    units = to_units(predictions, task)
    answered = [r for r in of_split(units.records, task.split) if r.arm == FULL_ARM and not r.failed]
    rows = [r for r in answered if any(t is not None for t in r.target)]
    target = target_array(rows).reshape(len(rows), len(units.labels))
    _check_enough(rows, target, units.labels)
    patients = np.unique([r.patient_id for r in rows], return_inverse=True)[1]
    found = recalibrate_locally(
        units.kind,
        target,
        logit_array(rows, units.kind),
        patients,
        in_use=probability_array(rows),
        method=method,
        seed=task.intervals.seed,
    )
    fitted = FittedRecalibration(
        kind=units.kind,
        labels=units.labels,
        method=method,
        source=describe_source(rows, task.split if any(r.split for r in rows) else "all"),
        by_arm={FULL_ARM: ByPattern(units.kind, found.recalibrator, {}).to_dict()},
    )
    return found, fitted


def _check_enough(rows: Sequence[Record], target: FloatArray, labels: Sequence[str]) -> None:
    patients = len({r.patient_id for r in rows})
    if patients < _FEWEST_PATIENTS:
        msg = f"Expected labelled predictions of at least {_FEWEST_PATIENTS} patients to recalibrate on; got {patients}. "
        msg += "Collect more cases: 50 to 200 are worth trying."
        raise PredictionsError(msg)
    lacking = [label for label, y in zip(labels, target.T, strict=True) if not (y == 0).any() or not (y == 1).any()]
    if lacking:
        msg = f"Expected cases with and without each label; of {', '.join(lacking)} there is one class only. Collect more cases."
        raise PredictionsError(msg)
