"""From held-out logits to calibrators and thresholds, one for each subset of modalities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medmm.metrics import decide
from medmm.metrics.recalibration import Calibrator, fit_calibrator
from medmm.metrics.recalibration.scaling import fit_temperature
from medmm.metrics.thresholds import best_thresholds
from medmm.model_folder import Thresholds
from medmm.prediction import task_cells
from medmm.sources.cohort import Case
from medmm.table import write_csv
from medmm.tasks import FurtherTask, task_answer, task_logits
from medmm.training.examples import Heldout
from medmm.types import FloatArray, IntArray, Kind

_MIN_HELDOUT = 10


def apart(fold: IntArray, unseen: Callable[[int, int], Sequence[Heldout]]) -> dict[int, Heldout]:
    """For each fold all others, as answered by weights that saw neither it nor what they answer.

    Args:
        fold: (n,) of each sample.
        unseen: Answers for two folds by weights that saw none of both.
    """
    parts: dict[int, dict[int, Heldout]] = {int(f): {} for f in np.unique(fold)}
    for f, g in combinations(parts, 2):
        parts[g][f], parts[f][g] = unseen(f, g)
    return {f: Heldout.joined(others, fold[fold != f]) for f, others in parts.items()}


def fit_decisions(kind: Kind, heldout: Heldout, split: str) -> tuple[dict[str, Calibrator], dict[str, Thresholds]]:
    """Calibrators and macro-F1 thresholds of every pattern with enough held-out samples of every class.

    Args:
        kind: Kind of task.
        heldout: Logits of samples the weights did not see.
        split: Name of where they come from, recorded with the thresholds.
    """
    calibrators: dict[str, Calibrator] = {}
    thresholds: dict[str, Thresholds] = {}
    for name, logits in heldout.logits.items():
        rows = heldout.complete[name]
        target = heldout.target[rows]
        if len(target) < _MIN_HELDOUT or (np.nansum(target, axis=0) == 0).any():
            continue
        calibrators[name] = fit_calibrator(kind, target, logits[rows])
        best = best_thresholds(kind, target, calibrators[name](logits[rows]))
        values = None if best is None else tuple(float(v) for v in best)
        thresholds[name] = Thresholds(values, "most_probable" if best is None else "max_f1_macro", split)
    return calibrators, thresholds


def fit_tasks(tasks: Sequence[FurtherTask], heldout: Heldout) -> tuple[FurtherTask, ...]:
    """Further tasks with their temperature, where enough held-out samples of every class are known."""
    if not heldout.further:
        return tuple(tasks)
    return tuple(_fit_task(task, *known) for task, known in zip(tasks, heldout.further, strict=True))


def _fit_task(task: FurtherTask, target: FloatArray, output: FloatArray) -> FurtherTask:
    if task.kind == "regression":
        return task
    rows = ~np.isnan(target).all(1)
    known, positive = (~np.isnan(target)).sum(0), np.nansum(target, axis=0)
    if (known < _MIN_HELDOUT).any() or (positive == 0).any() or (positive == known).any():
        return task
    logits = task_logits(task, torch.from_numpy(output[rows])).numpy()
    fitted = fit_temperature("multiclass" if task.kind == "ordinal" else task.kind, target[rows], logits)
    return replace(task, slope=fitted.slope)


def write_predictions(
    path: Path, kind: Kind, labels: tuple[str, ...], cases: Sequence[Case], heldout: Heldout, beside: Mapping[int, Heldout],
    fold: IntArray, tasks: Sequence[FurtherTask] = (),
) -> None:  # fmt: skip
    """Write out-of-fold predictions in the predictions-file format.

    Calibration and threshold applied to a fold are fitted on the other folds (`beside`, for each fold), so no case had a
    part in its own probability. Truth and answers of further tasks stand in the rows of the full arm.
    """
    columns = ["sample_id", "patient_id", "arm", "pattern", "split"]
    columns += ["label"] if kind != "multilabel" else [f"label__{name}" for name in labels]
    columns += [f"p__{name}" for name in labels] + [f"logit__{name}" for name in labels] + ["called"]
    rows = list(_prediction_rows(kind, labels, cases, heldout, beside, fold, tasks))
    write_csv(path, list(dict.fromkeys([*columns, *(name for row in rows for name in row)])), rows)


def _prediction_rows(
    kind: Kind, labels: tuple[str, ...], cases: Sequence[Case], heldout: Heldout, beside: Mapping[int, Heldout],
    fold: IntArray, tasks: Sequence[FurtherTask],
) -> Iterable[dict[str, Any]]:  # fmt: skip
    full = next(iter(heldout.logits))
    for f, others in beside.items():
        (calibrators, thresholds), fitted = fit_decisions(kind, others, "out-of-fold"), fit_tasks(tasks, others)
        for name, logits in heldout.logits.items():
            if name not in calibrators:
                continue
            for i in map(int, np.flatnonzero((fold == f) & heldout.complete[name])):
                p = calibrators[name](logits[i : i + 1])
                values = thresholds[name].values
                called = decide(kind, p, None if values is None else np.asarray(values))[0]
                row = {"sample_id": cases[i].study_id, "patient_id": cases[i].patient_id, "pattern": name, "split": "test"}
                row["arm"] = "full" if name == full else name
                row["called"] = "|".join(label for label, c in zip(labels, called, strict=True) if c)
                further = _further(fitted, cases[i], heldout, i) if name == full else {}
                yield row | _values(kind, labels, heldout.target[i], p[0], logits[i]) | further


def _further(tasks: Sequence[FurtherTask], case: Case, heldout: Heldout, row: int) -> dict[str, str]:
    """Truth and answers of further tasks for one sample."""
    truth = {name: case.columns.get(name, "") for task in tasks for name in task.columns}
    outputs = (torch.from_numpy(output[row]) for _, output in heldout.further)
    return truth | task_cells({t.name: task_answer(t, output) for t, output in zip(tasks, outputs, strict=True)})


def _values(kind: Kind, labels: tuple[str, ...], target: FloatArray, p: FloatArray, logits: FloatArray) -> dict[str, Any]:
    values: dict[str, Any] = {f"p__{name}": float(v) for name, v in zip(labels, p, strict=True)}
    values |= {f"logit__{name}": float(v) for name, v in zip(labels, logits, strict=True)}
    if kind != "multilabel":
        return values | {"label": labels[int(target.argmax())]}
    return values | {f"label__{n}": "" if np.isnan(t) else int(t) for n, t in zip(labels, target, strict=True)}
