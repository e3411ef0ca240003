"""`medmm eval` verbs that predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import DeviceOption, ModelOption, OutOption, eval_app
from medmm.cli.console import exit_if_failed, progress, stopping
from medmm.settings import LIMITS


@eval_app.command("run")
def eval_run(
    target: Annotated[Path, typer.Argument(help="Cohort table or task file.")],
    out: OutOption,
    model: ModelOption = None,
    split: Annotated[str | None, typer.Option(help="Side of the split to predict; else the task's, test.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Predict only the first so many.")] = None,
    max_failures: Annotated[
        float | None, typer.Option(min=0, help="Stop, with status 1, when more studies failed; below 1 it is a share of all.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed for want of time, memory or files.")] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Predict worse versions of each study too: the standard set.")
    ] = False,
    perturb: Annotated[
        list[str] | None, typer.Option(help="Worse versions of one kind, as NAME=LEVEL,LEVEL e.g. noise=10,20; may be repeated.")
    ] = None,
    study_seconds: Annotated[float, typer.Option(min=1, help="Time to read one study.")] = LIMITS.seconds,
    study_memory: Annotated[float, typer.Option(min=0.5, help="Memory to read one study, GB.")] = LIMITS.memory_bytes / (1 << 30),
    device: DeviceOption = "auto",
) -> None:
    """Predict a cohort into a store; run the same command again to resume.

    Ctrl-C stops after the study at hand, a second one at once; either way the same command goes on from there.
    """
    from medmm.evaluation.run import run_evaluation
    from medmm.shelf import find_model
    from medmm.transforms.perturb import STANDARD, parse_perturbations

    limits = replace(LIMITS, seconds=study_seconds, memory_bytes=int(study_memory * (1 << 30)))
    worse = parse_perturbations([*(STANDARD if robustness else ()), *(perturb or ())])
    with stopping() as stop, progress() as on_progress:
        summary = run_evaluation(
            target, find_model(model), out, split=split, device=device, limit=limit, max_failures=max_failures, retry=retry,
            perturbations=worse, limits=limits, stop=stop.event, on_progress=on_progress,
        )  # fmt: skip
    resumed = f" ({summary.resumed} from an earlier start)" if summary.resumed else ""
    of_all = "" if summary.status == "finished" else f" of {summary.total}"
    typer.echo(f"{summary.done}{of_all} studies predicted{resumed}, {summary.failed} failed.", err=True)
    if summary.status == "failed":
        typer.echo(
            "Stopped: too many studies failed, for reasons in the run folder. --retry or a larger --max-failures goes on.", err=True
        )
        raise typer.Exit(1)
    if summary.status == "cancelled":
        typer.echo("Stopped when asked to; the same command goes on from here.", err=True)
        raise typer.Exit(128 + stop.signal)
    exit_if_failed(summary.failed)
