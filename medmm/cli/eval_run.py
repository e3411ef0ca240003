"""`medmm eval` verbs that predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import DeviceOption, ModelOption, OutOption, eval_app
from medmm.cli.console import exit_if_failed, progress


@eval_app.command("run")
def eval_run(
    target: Annotated[Path, typer.Argument(help="Cohort table or task file.")],
    out: OutOption,
    model: ModelOption = None,
    split: Annotated[str | None, typer.Option(help="Side of the split to predict; else the task's, test.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Predict only the first so many.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Predict a cohort into a store; run the same command again to resume."""
    from medmm.evaluation.run import run_evaluation
    from medmm.shelf import find_model

    with progress() as on_progress:
        summary = run_evaluation(target, find_model(model), out, split=split, device=device, limit=limit, on_progress=on_progress)
    resumed = f" ({summary.resumed} from an earlier start)" if summary.resumed else ""
    typer.echo(f"{summary.total} studies predicted{resumed}, {summary.failed} failed.", err=True)
    exit_if_failed(summary.failed)
