"""`medmm eval score`: from a run folder or a predictions file to `metrics.json` and `report.html`."""

from __future__ import annotations

from pathlib import Path

from medmm.errors import PredictionsError
from medmm.evaluation.about import read_about
from medmm.evaluation.predictions import from_file, from_store
from medmm.evaluation.score import score
from medmm.evaluation.task import Task, read_task
from medmm.results import Results


def score_to_folder(run: Path | None, predictions: Path | None, task_file: Path | None, out: Path | None) -> Results:
    """Score and write.

    Args:
        run: Run folder, or
        predictions: a predictions file; exactly one of the two.
        task_file: Task; else the one the run was made with, or defaults.
        out: Folder to write; else the run folder.

    Raises:
        PredictionsError: If not exactly one input is given, or it cannot be scored.
        TaskError: If the task cannot be used.
    """
    if (run is None) == (predictions is None):
        msg = "Expected a run folder or --predictions; got both or neither. Give one."
        raise PredictionsError(msg)
    stated = read_task(task_file) if task_file is not None else None
    if run is not None:
        found, task = from_store(run), stated or _task_of_run(run)
    else:
        assert predictions is not None
        task = stated or Task.about(predictions.stem)
        found = from_file(predictions, task.labels, task.kind)
    target = out or run
    if target is None:
        msg = "Expected --out with --predictions; there is none. Name a folder for the results."
        raise PredictionsError(msg)
    results = score(found, task)
    write_results(results, target)
    return results


def write_results(results: Results, folder: Path) -> None:
    """Write `metrics.json` and `report.html`."""
    from medmm.report import render_report

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("metrics.json", results.to_json()), ("report.html", render_report(results))):
        partial = folder / f"{name}.partial"
        partial.write_text(content, encoding="utf-8")
        partial.replace(folder / name)


def read_results(path: Path) -> Results:
    """Read a `metrics.json`.

    Raises:
        PredictionsError: If it is not one of this schema version.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        msg = "Expected a metrics.json of this schema version; it is missing or another."
        raise PredictionsError(msg) from None


def _task_of_run(run: Path) -> Task:
    return Task.model_validate(read_about(run)["task"])
