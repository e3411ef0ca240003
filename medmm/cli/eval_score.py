"""`medmm eval` verbs that measure; none of them needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.cli.apps import JsonOption, eval_app
from medmm.cli.console import errors_as_json, exit_if_failed, phases, print_json
from medmm.prediction import DISCLAIMER

TaskOption = Annotated[Path | None, typer.Option("--task", help="Task file; else the run's own, or the defaults.")]
SidePath = Annotated[Path, typer.Argument(help="Run folder or predictions file.")]


@eval_app.command("score")
def eval_score(
    run: Annotated[Path | None, typer.Argument(help="Run folder of `medmm eval run`.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Anybody's predictions: CSV, Parquet or JSON Lines.")] = None,
    task: TaskOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json and report.html; else the run folder.")] = None,
    fitted: Annotated[Path | None, typer.Option(help="Folder of `medmm eval fit`; else the run folder.")] = None,
    into_card: Annotated[Path | None, typer.Option(help="Model folder whose card and results these numbers become.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure predictions: metrics.json and report.html. Needs no torch."""
    with errors_as_json(as_json), phases() as on_phase:
        from medmm.evaluation.files import score_to_folder

        results = score_to_folder(run, predictions, task, out, fitted=fitted, on_phase=on_phase)
        if into_card is not None:
            from medmm.model_folder import attach_results

            attach_results(into_card, results)
    if as_json:
        typer.echo(results.to_json(), nl=False)
    else:
        _print_summary(results)
    exit_if_failed(results.counts.failed)


@eval_app.command("fit")
def eval_fit(
    run: SidePath,
    task: TaskOption = None,
    split: Annotated[str | None, typer.Option(help="Side to fit on; the scored one is refused.")] = None,
    thresholds: Annotated[str | None, typer.Option(help="Policy: max_f1_macro, youden, sens_at, spec_at or cost.")] = None,
    value: Annotated[float | None, typer.Option(help="Rate that sens_at or spec_at promises.")] = None,
    recalibration: Annotated[str | None, typer.Option(help="Method, e.g. temperature, platt, beta, isotonic.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the JSON files; else the run folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit thresholds, recalibration and prediction sets on a tuning split, as plain JSON with its provenance."""
    with errors_as_json(as_json):
        from medmm.evaluation.files import fit_to_folder

        changes: dict[str, dict[str, Any]] = {
            "thresholds": {"policy": thresholds, "split": split, "value": value},
            "recalibration": {"method": recalibration, "split": split},
            "conformal": {"split": split},
        }
        parts = fit_to_folder(run, task, out, changes).parts()
    if as_json:
        print_json({name: part.model_dump(mode="json", by_alias=True) for name, part in parts.items()})
    else:
        for name, part in parts.items():
            typer.echo(f"{name}: fitted on {part.source.n} samples of {part.source.patients} patients, split {part.source.split}")


@eval_app.command("recalibrate")
def eval_recalibrate(
    cases: SidePath,
    task: TaskOption = None,
    method: Annotated[str, typer.Option(help="E.g. map_scaling, temperature, platt, beta.")] = "map_scaling",
    out: Annotated[Path | None, typer.Option(help="Folder for recalibration.json, which `score --fitted` uses.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Recalibrate on 50 to 200 cases of one site, and say whether that helped. For use on other patients of the site."""
    with errors_as_json(as_json):
        from medmm.evaluation.files import recalibrate_to_folder

        found = recalibrate_to_folder(cases, task, method, out)
    if as_json:
        print_json(found.to_dict() | {"disclaimer": DISCLAIMER})
        return
    typer.echo(found.verdict)
    typer.echo(f"{found.method} of {found.n} cases; log-loss {found.before:.3f} as it is, {found.after:.3f} recalibrated.")
    typer.echo(DISCLAIMER)


@eval_app.command("compare")
def eval_compare(
    first: SidePath,
    second: SidePath,
    task: TaskOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.json and comparison.html.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Metric the margin is about.")] = None,
    margin: Annotated[float | None, typer.Option(help="Of non-inferiority, in the unit of the metric.", min=0)] = None,
    test: Annotated[str | None, typer.Option(help="Tests, joined by commas: bootstrap, delong, mcnemar, permutation.")] = None,
    correction: Annotated[str | None, typer.Option(help="holm, bh or none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs or predictions files on the samples both answered: paired differences, p values, outcomes."""
    with errors_as_json(as_json):
        from medmm.evaluation.files import compare_to_folder

        tests = tuple(test.split(",")) if test else None
        policy = {"endpoint": endpoint, "margin": margin, "tests": tests, "multiplicity": correction}
        found = compare_to_folder((first, second), task, out, policy)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    typer.echo(f"{found.first['name']} minus {found.second['name']}: {found.n} samples of {found.patients} patients")
    for c in found.comparisons:
        typer.echo(
            f"{c.metric:>26}  {_interval(c.difference, c.low, c.high)}  {c.test} p {_p(c.p_value)} {_adjusted(c)} {c.outcome}"
        )
    for note in found.notes:
        typer.echo(f"[beware] {note}")
    typer.echo(DISCLAIMER)


@eval_app.command("gate")
def eval_gate(
    run: Annotated[Path, typer.Argument(help="Folder with metrics.json.")],
    rules: Annotated[Path | None, typer.Option(help="YAML file with rules:; else those of the run's task.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Run or predictions file that `delta` is against.")] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check rules against results. Exit code 0 all hold, 1 one does not, 2 a rule or the results cannot be used."""
    with errors_as_json(as_json):
        from medmm.evaluation.files import gate
        from medmm.report.junit import Case, render_junit

        results, checks = gate(run, rules, baseline)
        if junit is not None:
            cases = [Case(c.rule, "passed" if c.passed else "failed", c.measured) for c in checks]
            junit.write_text(render_junit(f"medmm.gate.{results.task}", cases), encoding="utf-8")
    if as_json:
        print_json([{"rule": c.rule, "passed": c.passed, "measured": c.measured} for c in checks])
    else:
        for c in checks:
            typer.echo(f"{'pass' if c.passed else 'FAIL'}  {c.rule}   ({c.measured})")
    if not all(c.passed for c in checks):
        raise typer.Exit(1)


@eval_app.command("validate")
def eval_validate(task: Annotated[Path, typer.Argument(help="Task file.")], as_json: JsonOption = False) -> None:
    """Check a task file; what is wrong is named, with the nearest key that exists."""
    with errors_as_json(as_json):
        from medmm.evaluation.task import find_cohort, read_task

        found = read_task(task)
        if found.cohort is not None and (task.parent / found.cohort).is_file():
            find_cohort(found, task)
    if as_json:
        print_json({"task": found.name, "version": found.version, "sha256": found.digest})
    else:
        typer.echo(f"{found.name}, version {found.version}: follows the contract.")


@eval_app.command("ls")
def eval_ls(
    folder: Annotated[Path, typer.Argument(help="Folder to look under.")] = Path("runs"), as_json: JsonOption = False
) -> None:
    """List runs and scored folders."""
    from medmm.evaluation.listing import list_runs

    found = list_runs(folder)
    if as_json:
        print_json(found)
        return
    for entry in found:
        state = entry.get("error") or ("scored" if entry["scored"] else entry["status"])
        typer.echo(
            f"{entry['run']:<30}  {entry['task']:<24}  {entry['model'] or '-':<16}  {entry.get('samples') or '-':>7}  {state}"
        )


@eval_app.command("show")
def eval_show(run: Annotated[Path, typer.Argument(help="Folder with metrics.json.")], as_json: JsonOption = False) -> None:
    """Print what was measured."""
    with errors_as_json(as_json):
        from medmm.evaluation.files import METRICS, read_results

        results = read_results(run / METRICS)
    if as_json:
        typer.echo(results.to_json(), nl=False)
        return
    _print_summary(results)
    for name, value in results.arms[0].metrics.items():
        typer.echo(f"{name:>36}  {value.reason if value.value is None else _interval(value.value, value.low, value.high)}")


@eval_app.command("schema")
def eval_schema(
    of: Annotated[str, typer.Argument(help="metrics, comparison or task.")] = "metrics",
) -> None:
    """Print the JSON schema of metrics.json, of comparison.json or of a task."""
    from medmm.errors import TaskError
    from medmm.evaluation.task import Task
    from medmm.results import Results, RunComparison

    forms: dict[str, type[Results] | type[RunComparison] | type[Task]] = {
        "metrics": Results, "comparison": RunComparison, "task": Task,
    }  # fmt: skip
    if of not in forms:
        msg = f"Expected one of {', '.join(forms)}; got another word."
        raise TaskError(msg)
    print_json(forms[of].model_json_schema(by_alias=True, mode="serialization"))


def _print_summary(results: Any) -> None:
    from medmm.report.verdict import verdict
    from medmm.report.words import headline_metrics, number

    full = results.arms[0]
    for sentence in verdict(results):
        typer.echo(f"[{sentence.tone}] {sentence.text}")
    for arm in results.arms:
        cells = "  ".join(f"{name} {number(arm.metrics[name])}" for name in headline_metrics(full))
        typer.echo(f"{arm.name:>12}  {cells}")
    typer.echo(DISCLAIMER)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:+.3f}" + ("" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]")


def _p(value: float | None) -> str:
    return "undefined" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _adjusted(comparison: Any) -> str:
    return f"({comparison.correction} {_p(comparison.adjusted_p)})" if comparison.correction else ""
