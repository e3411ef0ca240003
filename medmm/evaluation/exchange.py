"""Predictions into a run folder from a file, and out of it again, exactly."""

from __future__ import annotations

import json
from pathlib import Path

import medmm
from medmm.evaluation.about import end_session, start_session
from medmm.evaluation.predictions import export, from_file, from_store
from medmm.evaluation.task import Task, read_task
from medmm.store import FULL_ARM, RunStore


def import_predictions(file: Path, out: Path, task_file: Path | None = None) -> int:
    """Make a run of a predictions file.

    Args:
        file: Predictions file.
        out: Run folder; new, or one this file was imported to before.
        task_file: Task that states labels and kind; else as the columns say.

    Returns:
        Number of rows.

    Raises:
        PredictionsError, TaskError: If something handed in cannot be used.
        StoreError: If the folder holds another run or cannot be written.
    """
    task = read_task(task_file) if task_file is not None else Task.about(file.stem)
    found = from_file(file, task.labels, task.kind)
    about = {
        "medmm": medmm.__version__,
        "task": json.loads(task.model_dump_json()),
        "kind": found.kind,
        "labels": list(found.labels),
        "model": found.model,
        "decided": {arm: {"policy": d.policy, "split": d.split, "values": None} for arm, d in found.decided.items()},
        "prevalence": None,
        "notes": list(found.notes),
    }
    with RunStore(out, {"file": found.source["sha256"], "task": task.digest}) as store:
        about = start_session(out, about)
        if not store.done():
            store.add(found.records)
    rows = [r for r in found.records if r.arm == FULL_ARM]
    counts = {"total": len(rows), "done": len(rows), "failed": sum(r.failed for r in rows)}
    end_session(out, about, "finished", counts, {})
    return len(found.records)


def export_run(run: Path, file: Path) -> int:
    """Write every row of a finished run as a table.

    Args:
        run: Run folder.
        file: `.csv`, `.parquet` or `.jsonl`.

    Returns:
        Number of rows.

    Raises:
        StoreError: If there is no run, or the file cannot be written.
        PredictionsError: If the run is not finished.
    """
    found = from_store(run)
    export(found, file)
    return len(found.records)
