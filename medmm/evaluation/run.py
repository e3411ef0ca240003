"""Predict every study of a cohort, once, into a store that survives a kill at any moment."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import medmm
from medmm.disk import replace_bytes
from medmm.errors import LeakageError, MedmmError, TaskError
from medmm.evaluation.predictions import export, from_store
from medmm.evaluation.task import Task, find_cohort, read_task
from medmm.inference import Predictor
from medmm.model_folder import ModelFolder
from medmm.sources.cohort import Case, Cohort, read_cohort
from medmm.store import FULL_ARM, Record, RunStore
from medmm.table import read_rows
from medmm.types import OnProgress, pattern_name

_INTERNAL = "E_INTERNAL"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to: cases in all, cases that failed, and cases found done by an earlier start."""

    total: int
    failed: int
    resumed: int


def run_evaluation(
    target: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    device: str = "auto",
    limit: int | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> RunSummary:
    """Predict a cohort with a model, from all inputs and from each subset of them.

    A study that cannot be read or predicted is a row with a reason. Run the same command again
    after an interruption: it goes on where it was.

    Args:
        target: Cohort table or task file.
        model: Model folder.
        out: Run folder for the store, `predictions.csv` and `run.json`.
        split: Side to predict; else the task's (`test`). A cohort without a split is predicted whole,
            or as divided in the model's own training run.
        device: `auto`, `cpu`, `cuda` or `mps`.
        limit: Predict only the first so many cases.
        on_progress: Told after each case.

    Raises:
        TaskError, CohortError, ModelError, StoreError: If something handed in cannot be used.
        LeakageError: If patients to be scored were used to fit this model.
    """
    out = Path(out)
    task, cohort_path = _resolve(Path(target))
    predictor = Predictor.load(model, device)
    config = predictor.folder.model.config
    cohort = read_cohort(cohort_path, labels=task.labels or config.labels, kind=config.kind)
    if cohort.labels != config.labels:
        msg = f"Expected the labels the model predicts, {', '.join(config.labels)}; the task has {', '.join(cohort.labels)}."
        raise TaskError(msg)
    split = split or task.split
    cases = _choose_cases(cohort, Path(model), split)[:limit]
    fingerprint = {
        "medmm": medmm.__version__, "model": predictor.folder.digest, "cohort": cohort.digest, "task": task.digest,
        "split": split, "limit": str(limit), "device": predictor.folder.model.device.type,
    }  # fmt: skip
    with RunStore(out, fingerprint) as store:
        done = store.done()
        _write_about(out, "started", task, predictor.folder)
        for index, (position, case) in enumerate(cases):
            if case.study_id not in done:
                store.add(_predict(case, position, split, predictor))
            on_progress("predicting", index + 1, len(cases))
        failed = sum(r.failed for r in store.records())
    _write_about(out, "finished", task, predictor.folder)
    export(from_store(out), out / "predictions.csv")
    return RunSummary(len(cases), failed, len(done))


def _resolve(target: Path) -> tuple[Task, Path]:
    if target.suffix.lower() in (".yaml", ".yml"):
        task = read_task(target)
        return task, find_cohort(task, target)
    return Task(name=target.parent.resolve().name or "cohort"), target


def _choose_cases(cohort: Cohort, model: Path, split: str) -> list[tuple[int, Case]]:
    """(position in the table, case) of the side to predict, after proof that the model was not fitted on it."""
    recorded = _recorded_split(model)
    cases = list(enumerate(cohort.cases))
    if any(case.split for _, case in cases):
        cases = [(i, c) for i, c in cases if c.split == split]
    elif recorded:
        cases = [(i, replace(c, split=split)) for i, c in cases if recorded.get(c.study_id, (None, split))[1] == split]
    if not cases:
        msg = f"Expected studies in the split {split!r}; there are none. State --split."
        raise TaskError(msg)
    fitted = {patient for patient, side in recorded.values() if side in ("train", "val") or side.startswith("fold")}
    seen = {c.patient_id for _, c in cases} & fitted
    if seen and split not in ("train", "val"):
        msg = (
            f"Expected patients the model was not fitted on; {len(seen)} of them were. "
            "Score other patients, or the out-of-fold predictions."
        )
        raise LeakageError(msg)
    return cases


def _recorded_split(model: Path) -> dict[str, tuple[str, str]]:
    """study_id to (patient_id, side) of the model's own training run, empty when it is not recorded there."""
    file = model / "split.csv"
    return {r["study_id"]: (r["patient_id"], r["split"]) for r in read_rows(file, TaskError)} if file.is_file() else {}


def _predict(case: Case, position: int, split: str, predictor: Predictor) -> list[Record]:
    unknown = (None,) * len(predictor.labels)
    target = unknown if case.target is None else tuple(None if np.isnan(t) else float(t) for t in case.target)
    base = Record(case.study_id, case.patient_id, position, FULL_ARM, split, target=target)
    start = time.perf_counter()
    try:
        arms = predictor.arms(case.open(), predictor.folder.model.patterns)
    except MedmmError as error:
        return [replace(base, code=error.code, message=error.message)]
    except Exception as error:
        return [replace(base, code=_INTERNAL, message=f"Unexpected {type(error).__name__}.")]
    seconds = time.perf_counter() - start
    full = pattern_name(predictor.folder.preprocessor.modalities)
    return [
        replace(
            base,
            arm=_arm(pattern_name(arm), full),
            pattern=pattern,
            probability=tuple(answer.probabilities.values()),
            logit=tuple(answer.logits.values()),
            called=answer.called,
            seconds=seconds,
        )
        for arm, (pattern, answer) in arms.items()
    ]


def _write_about(out: Path, status: str, task: Task, folder: ModelFolder) -> None:
    config, full = folder.model.config, pattern_name(folder.preprocessor.modalities)
    decided = {_arm(name, full): asdict(thresholds) for name, thresholds in folder.thresholds.items()}
    about = {
        "status": status,
        "medmm": medmm.__version__,
        "task": json.loads(task.model_dump_json()),
        "kind": config.kind,
        "labels": list(config.labels),
        "model": {"name": folder.name, "sha256": folder.digest},
        "decided": decided,
        "prevalence": None if folder.prevalence is None else list(folder.prevalence),
    }
    replace_bytes(out / "run.json", (json.dumps(about, indent=2) + "\n").encode())


def _arm(pattern: str, full: str) -> str:
    return FULL_ARM if pattern == full else pattern
