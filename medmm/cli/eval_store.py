"""`medmm eval` verbs that bring predictions into a run folder and out of it, or make them up."""

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


@eval_app.command("simulate")
def eval_simulate(
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet or .jsonl.")],
    patients: Annotated[int, typer.Option(min=1, help="Patients.")] = 1500,
    scans: Annotated[int, typer.Option(min=1, help="Scans of each patient.")] = 2,
    slope: Annotated[float, typer.Option(min=0.05, help="Calibration slope; 1 is exactly right, below 1 too extreme.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write predictions of 18 chest findings by a model that does not exist, whose quality is known exactly."""
    from medmm.sources.phantom.predictions import SimulatedModel
    from medmm.table import write_rows

    rows = list(SimulatedModel(slope, seed).rows(patients, scans))
    write_rows(out, list(rows[0]), rows)
    typer.echo(f"{len(rows)} scans of {patients} patients.", err=True)
