"""`medmm eval` verbs that bring predictions into a run folder and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medmm.cli.apps import OutOption, eval_app


@eval_app.command("import")
def eval_import(
    predictions: Annotated[Path, typer.Argument(help="Anybody's predictions: CSV, Parquet or JSON Lines.")],
    out: OutOption,
    task: Annotated[Path | None, typer.Option(help="Task file; else labels and kind as the columns say.")] = None,
) -> None:
    """Make a run of predictions that were made elsewhere."""
    from medmm.evaluation.exchange import import_predictions

    count = import_predictions(predictions, out, task)
    typer.echo(f"{count} rows are now a run.", err=True)


@eval_app.command("export")
def eval_export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    file_format: Annotated[Literal["csv", "parquet", "jsonl"], typer.Option("--format", help="Of the table.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write; else predictions.<format> in the run folder.")] = None,
) -> None:
    """Write every row of a run as a table that anybody can read, and `medmm eval import` too."""
    from medmm.evaluation.exchange import export_run

    typer.echo(f"{export_run(run, out or run / f'predictions.{file_format}')} rows written.", err=True)
