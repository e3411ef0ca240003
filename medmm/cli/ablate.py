"""`medmm ablate`: which inputs and which fusion are worth having on a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import ConfigOption, DeviceOption, JsonOption, OutOption, SettingsOption, app
from medmm.cli.choices import choices_of
from medmm.cli.console import print_json, progress, spoken_once
from medmm.errors import TaskError
from medmm.types import MODALITIES, Modality


@app.command()
@spoken_once()
def ablate(
    target: Annotated[Path, typer.Argument(help="Cohort table or task file.")],
    out: OutOption,
    fusions: Annotated[str, typer.Option(help="Fusion layers joined by commas, or all.")] = "all",
    subsets: Annotated[
        str,
        typer.Option(help="Subsets of modalities joined by commas, e.g. text,image+text."),
    ] = "image,text,image+text",
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds joined by commas, over which rows are averaged; that of the choices, which also divides patients."
        ),
    ] = None,
    folds: Annotated[str | None, typer.Option(help="Answer out of fold: number of folds, or the column that names them.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    config_file: ConfigOption = None,
    settings: SettingsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is there; refuse when nothing is.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train fusions x subsets of modalities x seeds on the same split and compare them; run it again to resume."""
    from medmm.evaluation.ablation import Plan
    from medmm.evaluation.ablation import ablate as run
    from medmm.fusion import FUSIONS
    from medmm.report.ablation import render_ablation
    from medmm.training.config import config_from

    if resume and not (out / "cells").is_dir():
        msg = "Expected an interrupted comparison to go on with; the folder holds none. Leave --resume out."
        raise TaskError(msg)
    for key, option in (("fusion", "--fusions"), ("modalities", "--subsets")):
        if any(setting.partition("=")[0] == key for setting in settings or []):
            msg = f"Expected {option} in place of --set {key}, which is what a comparison varies. Leave --set {key} out."
            raise TaskError(msg)
    config = config_from(choices_of(config_file, epochs=epochs), settings or [])
    plan = Plan(
        fusions=tuple(FUSIONS) if fusions == "all" else tuple(fusions.split(",")),
        subsets=tuple(_subset(part) for part in subsets.split(",")),
        seeds=tuple(_seed(part) for part in seeds.split(",")) if seeds is not None else (config.seed,),
        config=config,
        folds=int(folds) if folds and folds.isdigit() else folds,
    )
    with progress() as on_progress:
        found = run(target, out, plan, device=device, on_progress=on_progress)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        typer.echo(render_ablation(found))


def _subset(text: str) -> frozenset[Modality]:
    found = frozenset(m for m in MODALITIES if m in text.split("+"))
    if len(found) != len(text.split("+")):
        msg = f"Expected modalities of {', '.join(MODALITIES)} joined by +; got another word in --subsets."
        raise TaskError(msg)
    return found


def _seed(text: str) -> int:
    if not text.isdigit():
        msg = "Expected whole numbers joined by commas in --seeds; got something else."
        raise TaskError(msg)
    return int(text)
