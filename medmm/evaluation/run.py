"""Predict every study of a cohort, once, into a store that survives a kill at any moment."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import medmm
from medmm.disk import sole_user
from medmm.errors import TaskError
from medmm.evaluation.about import Status, end_session, start_session, versions
from medmm.evaluation.answering import Answering, Item
from medmm.evaluation.batch import Batch
from medmm.evaluation.cases import choose_cases, write_partition
from medmm.evaluation.predictions import export, from_store
from medmm.evaluation.task import Task, find_cohort, read_task
from medmm.inference import Predictor
from medmm.settings import LIMITS, Limits
from medmm.sources.cohort import Case, read_cohort
from medmm.store import RunStore
from medmm.study import Category, Quantity
from medmm.tasks import FurtherTask
from medmm.training.prepared import Prepared, prepared_in
from medmm.transforms.batch import Preprocessor
from medmm.transforms.perturb import Perturbation
from medmm.types import OnProgress

_MATTER = ("torch", "monai", "numpy", "scipy", "pydicom", "nibabel", "pillow", "pylibjpeg", "tokenizers", "transformers")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to.

    Attributes:
        status: `finished`; `failed` when too many studies failed; `cancelled` when it was stopped.
        total, done, failed: Studies of the run, those with rows, those whose row is a reason.
        resumed: Found done by an earlier start.
    """

    status: Status
    total: int
    done: int
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
    max_failures: float | None = None,
    retry: bool = False,
    perturbations: Sequence[Perturbation] = (),
    cache: Path | None = None,
    limits: Limits = LIMITS,
    stop: threading.Event | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> RunSummary:
    """Predict a cohort with a model, from all inputs and from each subset of them.

    Studies are read ahead in processes of their own, each within limits. A study that cannot be read
    or predicted is a row with a reason. Run the same command again after an interruption: it goes on
    where it was.

    Args:
        target: Cohort table or task file.
        model: Model folder.
        out: Run folder for the store, `predictions.csv`, `run.json` and `partition.csv`.
        split: Side to predict; else the task's (`test`). A cohort without a split is predicted whole,
            or as divided in the model's own training run.
        device: `auto`, `cpu`, `cuda` or `mps`.
        limit: Predict only the first so many cases.
        max_failures: Stop when more studies than this failed; below 1 it is a share of all cases.
        retry: Try again the studies that failed for a reason in `batch.RETRYABLE`; all others keep their rows.
        perturbations: Worse versions of each study to predict too.
        cache: Folder for prepared images that several runs share and nobody removes; not used with perturbations, which
            are of the images themselves.
        limits: Time and memory for reading one study.
        stop: Set it to stop after the study at hand.
        on_progress: Told after each case.

    Raises:
        TaskError, CohortError, ModelError, StoreError: If something handed in cannot be used.
        LeakageError: If patients to be scored were used to fit this model.
    """
    out, model, stop = Path(out), Path(model), stop or threading.Event()
    task, cohort_path = resolve(Path(target))
    predictor = Predictor.load(model, device)
    config = predictor.folder.model.config
    fields = _fields(predictor.folder.preprocessor, task)
    cohort = read_cohort(cohort_path, labels=task.labels or config.labels, kind=config.kind, fields=fields)
    if cohort.labels != config.labels:
        msg = f"Expected the labels the model predicts, {', '.join(config.labels)}; the task has {', '.join(cohort.labels)}."
        raise TaskError(msg)
    split = split or task.split
    chosen = choose_cases(cohort, model, split)[:limit]
    items = _items(chosen, predictor.folder.preprocessor, None if perturbations else cache)
    fingerprint = {
        "model": predictor.folder.digest, "cohort": cohort.digest, "task": task.digest, "split": split, "limit": str(limit),
        "device": predictor.folder.model.device.type, "precision": "float32",
        "perturbations": " ".join(f"{p.arm}@{p.seed}" for p in perturbations),
        "preprocessing": _fingerprint_of(predictor.folder.preprocessor), **versions(_MATTER),
    }  # fmt: skip
    with sole_user(out), RunStore(out, fingerprint) as store:
        answering = Answering(predictor, split, perturbations)
        batch = Batch(store, answering, items)
        session = start_session(out, _about(task, predictor, answering))
        write_partition(model, split, out)
        most = _tolerated(max_failures, len(items))
        status = batch.predict(retry=retry, most=most, limits=limits, stop=stop, on_progress=on_progress)
        end_session(out, session, status, batch.counts(), batch.timing())
    if status == "finished":
        export(from_store(out), out / "predictions.csv")
    return RunSummary(status, len(items), len(batch.codes), batch.failed, batch.resumed)


def resolve(target: Path) -> tuple[Task, Path]:
    """The task and the cohort table that a task file, or a cohort table alone, stands for."""
    if target.suffix.lower() in (".yaml", ".yml"):
        task = read_task(target)
        return task, find_cohort(task, target)
    return Task(name="cohort"), target  # never the folder's name: it may be a patient's


def _items(chosen: Sequence[tuple[int, Case]], preprocessor: Preprocessor, cache: Path | None) -> list[Item]:
    """What is read of each (position, case): what the model reads, and of images only what is not kept in a cache."""
    cases = [case.reading(preprocessor.modalities) for _, case in chosen]
    prepared: Sequence[Prepared | None] = [None] * len(cases) if cache is None else prepared_in(cache, cases, preprocessor)
    return [Item(position, case, prepared=p) for (position, _), case, p in zip(chosen, cases, prepared, strict=True)]


def _fields(preprocessor: Preprocessor, task: Task) -> tuple[Quantity | Category, ...]:
    """Tabular values to read: the task's, with its bounds, and what else the model reads."""
    stated = {quantity.name for quantity in task.values}
    read = () if preprocessor.tabular is None else preprocessor.tabular.fields
    return (*task.values, *(field for field in read if field.name not in stated))


def _tolerated(max_failures: float | None, cases: int) -> float:
    """Failed studies that do not stop the run."""
    if max_failures is None:
        return cases
    return max_failures * cases if 0 < max_failures < 1 else max_failures


def _fingerprint_of(preprocessor: Preprocessor) -> str:
    text = preprocessor.text.to_json() if preprocessor.text else ""
    return hashlib.sha256(f"{preprocessor.image} {text} {preprocessor.audio} {preprocessor.tabular}".encode()).hexdigest()


def _about(task: Task, predictor: Predictor, answering: Answering) -> dict[str, Any]:
    folder = predictor.folder
    return {
        "medmm": medmm.__version__,
        "versions": versions(_MATTER),
        "task": json.loads(task.model_dump_json()),
        "kind": folder.model.config.kind,
        "labels": list(folder.model.config.labels),
        "model": {"name": folder.name, "sha256": folder.digest},
        "decided": answering.decided(),
        "prevalence": None if folder.prevalence is None else list(folder.prevalence),
        "tasks": [_further(task) for task in folder.model.config.tasks],
    }


def _further(task: FurtherTask) -> dict[str, Any]:
    """A further task as `policies.Further` reads it."""
    baseline = [task.mean] if task.kind == "regression" else list(task.frequencies)
    return {"name": task.name, "kind": task.kind, "labels": list(task.labels), "calibrated": bool(task.slope), "baseline": baseline}
