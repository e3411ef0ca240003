"""`medmm tune`: search for a configuration on the validation cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from medmm.cli.apps import ConfigOption, DeviceOption, JsonOption, OutOption, SettingsOption, TaskOption, app
from medmm.cli.choices import choices_of
from medmm.cli.console import print_json, progress, spoken_once
from medmm.errors import TaskError


@app.command()
@spoken_once()
def tune(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet.")],
    space: Annotated[Path, typer.Option(help="YAML: keys of TrainConfig with a list of values, or low and high (log, step).")],
    out: OutOption,
    trials: Annotated[int, typer.Option(min=1, help="Trainings of all processes and starts together.")] = 20,
    sampler: Annotated[Literal["tpe", "random", "grid"], typer.Option(help="tpe is Bayesian.")] = "tpe",
    metric: Annotated[Literal["f1_macro", "loss"], typer.Option(help="Of the validation cases.")] = "f1_macro",
    prune: Annotated[bool, typer.Option(help="Give a trial up that is worse than half of the others.")] = True,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the search, of the split and of each training; that of the choices if not stated.")
    ] = None,
    task: TaskOption = None,
    config_file: ConfigOption = None,
    settings: SettingsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Search; run it again to go on, or in several processes at once. best.yaml is for medmm train --config."""
    from medmm.evaluation.task import Task, read_task
    from medmm.training.config import config_from
    from medmm.training.search import Search, best_of, search
    from medmm.training.search_space import read_space, within

    asked = read_task(task) if task else Task.about("")
    config = config_from(choices_of(config_file, **asked.training_choices, epochs=epochs, seed=seed), settings or [])
    config = replace(config, split_seed=config.division_seed)  # the same patients whatever is searched
    searched = read_space(space, config)
    for key, option in _typed(settings or [], epochs):
        if within(key, searched):
            msg = f"Expected no {option} beside a space that searches {key}; got both. Leave one out."
            raise TaskError(msg)
    plan = Search(searched, config, trials, sampler, metric, prune, config.seed)
    with progress() as on_progress:
        tried = search(cohort, out, plan, labels=asked.labels or None, device=device, on_progress=on_progress)
    complete = [t for t in tried if t.score is not None]
    best = best_of(complete, metric) if complete else None
    if as_json:
        print_json({"metric": metric, "best": best and asdict(best), "trials": [asdict(t) for t in tried]})
        return
    for t in tried:
        chosen = ", ".join(f"{key}={text}" for key, text in t.chosen.items())
        score = t.state if t.score is None else f"{t.score:.4f}"
        typer.echo(f"{'->' if t == best else '  '} {t.number:3d}  {score:>9}  {t.epochs:3d} epochs  {chosen}")
    typer.echo(f"{metric} of the validation cases, on which the best was chosen: a fair number needs cases that no trial saw.")


def _typed(settings: list[str], epochs: int | None) -> Iterator[tuple[str, str]]:
    """Keys stated on the command line and how, but the seed, which is also that of the search."""
    for key in (setting.partition("=")[0] for setting in settings):
        if key != "seed":
            yield key, f"--set {key}"
    if epochs is not None:
        yield "epochs", "--epochs"
