"""The verbs of `medmm eval` that measure, from files to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medmm.disk import replace_bytes
from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.about import is_run, read_about
from medmm.evaluation.compare_runs import compare_runs
from medmm.evaluation.fit import Fitted, fit_parts
from medmm.evaluation.gate import Check, check_gate, read_rules
from medmm.evaluation.predictions import Predictions, from_file, from_store
from medmm.evaluation.score import OnPhase, score
from medmm.evaluation.site import recalibrate_site
from medmm.evaluation.task import Task, read_task
from medmm.evaluation.units import to_units
from medmm.metrics.recalibration.local import LocalRecalibration
from medmm.results import Results, RunComparison

TABLES = (".csv", ".parquet", ".jsonl")
METRICS, COMPARISON = "metrics.json", "comparison.json"


def score_to_folder(
    run: Path | None,
    predictions: Path | None,
    task_file: Path | None,
    out: Path | None,
    *,
    fitted: Path | None = None,
    on_phase: OnPhase = lambda _: None,
) -> Results:
    """Score and write `metrics.json` and `report.html`.

    Args:
        run: Run folder, or
        predictions: a predictions file; exactly one of the two.
        task_file: Task; else the one the run was made with, or defaults.
        out: Folder to write; else the run folder.
        fitted: Folder of `medmm eval fit`; else the run folder, where it was fitted there.
        on_phase: Told what is being done.

    Raises:
        PredictionsError: If not exactly one input is given, or it cannot be scored.
        TaskError: If the task cannot be used.
        LeakageError: If sides of the split share patients or images.
    """
    if (run is None) == (predictions is None):
        msg = "Expected a run folder or --predictions; got both or neither. Give one."
        raise PredictionsError(msg)
    source = run or predictions
    assert source is not None
    target = out or run
    if target is None:
        msg = "Expected --out with --predictions; there is none. Name a folder for the results."
        raise PredictionsError(msg)
    on_phase("reading")
    found, task = read_predictions(source, read_task(task_file) if task_file is not None else None)
    results = score(found, task, _fitted(fitted or run), on_phase=on_phase)
    on_phase("report")
    write_results(results, target)
    return results


def fit_to_folder(run: Path, task_file: Path | None, out: Path | None, changes: dict[str, dict[str, Any]]) -> Fitted:
    """Fit what the task asks for and write it as JSON.

    Args:
        run: Run folder or predictions file that holds the tuning split.
        task_file: Task; else the one the run was made with.
        out: Folder to write; else the run folder.
        changes: Policies to state otherwise than the task does, e.g. `{"thresholds": {"split": "val"}}`.

    Raises:
        TaskError: If the task asks for nothing to be fitted, or for fitting on the scored split.
        PredictionsError: If the predictions cannot be used.
    """
    found, task = read_predictions(run, read_task(task_file) if task_file is not None else None)
    task = task.altered(changes)
    fitted = fit_parts(to_units(found, task), task)
    if fitted == Fitted():
        msg = "Expected the task to ask for thresholds, recalibration or prediction sets to fit; it does not. State a policy."
        raise TaskError(msg)
    target = out or run
    if target.is_file():
        msg = "Expected --out with a predictions file; there is none. Name a folder for what is fitted."
        raise PredictionsError(msg)
    fitted.write(target)
    return fitted


def recalibrate_to_folder(source: Path, task_file: Path | None, method: str, out: Path | None) -> LocalRecalibration:
    """Recalibrate on a site's cases and write `recalibration.json`, for other patients of that site.

    Args:
        source: Run folder or predictions file.
        task_file: Task; else the run's own, or defaults.
        method: A name in `recalibrators`.
        out: Folder to write, None to write nothing.

    Raises:
        PredictionsError, TaskError: As for `recalibrate_site`.
    """
    found, task = read_predictions(source, read_task(task_file) if task_file is not None else None)
    local, fitted = recalibrate_site(found, task, method)
    if out is not None:
        Fitted(recalibration=fitted).write(out)
    return local


def compare_to_folder(
    sides: tuple[Path, Path], task_file: Path | None, out: Path | None, comparison: dict[str, Any]
) -> RunComparison:
    """Compare two runs or predictions files and write `comparison.json` and `comparison.html`.

    Args:
        sides: Run folders or predictions files.
        task_file: Task; else that of the first side.
        out: Folder to write, None to write nothing.
        comparison: Policy to state otherwise than the task does.

    Raises:
        PredictionsError, TaskError, LeakageError: As for `compare_runs`.
    """
    stated = read_task(task_file) if task_file is not None else None
    first, task = read_predictions(sides[0], stated)
    labels = task.model_copy(update={"labels": first.labels, "kind": first.kind})
    second, _ = read_predictions(sides[1], labels)
    names = (sides[0].stem, sides[1].stem)
    if names[0] == names[1]:
        names = ("first", "second")
    found = compare_runs((first, second), names, task.altered({"comparison": comparison}), (_fitted(sides[0]), _fitted(sides[1])))
    if out is not None:
        from medmm.report import render_comparison

        _write(out, {COMPARISON: found.to_json(), "comparison.html": render_comparison(found)})
    return found


def gate(run: Path, rules_file: Path | None, baseline: Path | None) -> tuple[Results, list[Check]]:
    """Check the rules against the `metrics.json` of a run.

    Args:
        run: Run folder that was scored, or a folder with `metrics.json`.
        rules_file: Rules; else those of the run's task.
        baseline: Run or predictions file that `delta` is against.

    Raises:
        PredictionsError: If the run was not scored, or changed since.
        TaskError: If there is no rule, or one cannot be understood.
    """
    results, rules = read_results(run / METRICS), read_rules(rules_file) if rules_file is not None else ()
    if is_run(run):
        found, task = read_predictions(run, None)
        rules = rules or task.gate
        if found.source != results.source:
            msg = "Expected metrics.json of the predictions in the run folder; it is about others. Score again."
            raise PredictionsError(msg)
    against = compare_to_folder((run, baseline), None, None, {}) if baseline is not None else None
    return results, check_gate(rules, results, against)


def read_predictions(path: Path, stated: Task | None) -> tuple[Predictions, Task]:
    """A run folder or a predictions file, with its task unless one is stated.

    Raises:
        StoreError, PredictionsError, TaskError: If it cannot be used.
    """
    if path.suffix.lower() in TABLES:
        task = stated or Task.about(path.stem)
        return from_file(path, task.labels, task.kind), task
    return from_store(path), stated or Task.model_validate(read_about(path)["task"])


def write_results(results: Results, folder: Path) -> None:
    """Write `metrics.json` and `report.html`."""
    from medmm.report import render_report

    _write(folder, {METRICS: results.to_json(), "report.html": render_report(results)})


def read_results(path: Path) -> Results:
    """Read a `metrics.json`.

    Raises:
        PredictionsError: If it is not one of this schema version.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        msg = "Expected a metrics.json of this schema version; it is missing or another. Run `medmm eval score` first."
        raise PredictionsError(msg) from None


def _write(folder: Path, contents: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        replace_bytes(folder / name, content.encode())


def _fitted(folder: Path | None) -> Fitted | None:
    """What was fitted and written there, None for nothing."""
    found = Fitted.read(folder) if folder is not None and folder.is_dir() else Fitted()
    return None if found == Fitted() else found
