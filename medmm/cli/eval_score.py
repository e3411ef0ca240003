"""`medmm eval` verbs that measure; none of them needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.cli.apps import JsonOption, eval_app
from medmm.cli.console import errors_as_json, exit_if_failed, print_json
from medmm.prediction import DISCLAIMER


@eval_app.command("score")
def eval_score(
    run: Annotated[Path | None, typer.Argument(help="Run folder of `medmm eval run`.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Anybody's predictions: CSV, Parquet or JSON Lines.")] = None,
    task: Annotated[Path | None, typer.Option(help="Task file; else the run's own, or the defaults.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json and report.html; else the run folder.")] = None,
    into_card: Annotated[Path | None, typer.Option(help="Model folder whose card and results these numbers become.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure predictions: metrics.json and report.html. Needs no torch."""
    with errors_as_json(as_json):
        from medmm.evaluation.files import score_to_folder

        results = score_to_folder(run, predictions, task, out)
        if into_card is not None:
            from medmm.model_folder import attach_results

            attach_results(into_card, results)
    if as_json:
        typer.echo(results.to_json(), nl=False)
    else:
        _print_summary(results)
    exit_if_failed(results.counts.failed)


@eval_app.command("schema")
def eval_schema() -> None:
    """Print the JSON schema of metrics.json."""
    from medmm.results import Results

    print_json(Results.model_json_schema(by_alias=True, mode="serialization"))


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
