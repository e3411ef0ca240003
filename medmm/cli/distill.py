"""`medmm distill`: a smaller or single-modality student from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import ConfigOption, DeviceOption, OutOption, SettingsOption, TaskOption, TrackerOption, app
from medmm.cli.choices import choices_of
from medmm.cli.console import exit_if_failed, progress, spoken_once
from medmm.cli.study import say_trained


@app.command()
@spoken_once()
def distill(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet.")],
    teacher: Annotated[str, typer.Option(help="Trained model: its folder, or the name of a shipped one.")],
    out: OutOption,
    temperature: Annotated[float | None, typer.Option(min=0.01, help="How far teacher and student are softened; 2.")] = None,
    weight: Annotated[float | None, typer.Option(min=0, max=1, help="Share of the teacher's word beside the labels; 0.7.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    task: TaskOption = None,
    config_file: ConfigOption = None,
    tracker: TrackerOption = None,
    settings: SettingsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a student on labels and on a teacher's calibrated answers; run the same command again to resume."""
    from medmm.cli.cohort import print_scan
    from medmm.device import choose_device
    from medmm.evaluation.task import Task, read_task
    from medmm.shelf import find_model
    from medmm.training import train
    from medmm.training.config import config_from
    from medmm.training.teacher import Teacher

    asked = read_task(task) if task else Task.about("")
    given = {"epochs": epochs, "seed": seed, "tracker": tracker, "distill_temperature": temperature, "distill_weight": weight}
    config = config_from(choices_of(config_file, **asked.training_choices, **given), settings or [])
    opened = Teacher.open(find_model(teacher), choose_device(device))
    with progress() as on_progress:
        result = train(
            cohort, out, config, labels=asked.labels or None, teacher=opened, device=device, on_progress=on_progress,
            on_scan=lambda scan: print_scan(scan, err=True),
        )  # fmt: skip
    say_trained(result)
    exit_if_failed(len(result.failures))
