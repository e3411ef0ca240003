"""`medmm pretrain`: encoders that learn from studies without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import ConfigOption, DeviceOption, OutOption, SettingsOption, TrackerOption, app
from medmm.cli.choices import choices_of
from medmm.cli.console import exit_if_failed, progress, spoken_once
from medmm.errors import TaskError

# Written out, because help must not wait for torch.
_OBJECTIVES = ("halves", "infonce", "masked_image", "masked_language", "sigmoid")


@app.command()
@spoken_once()
def pretrain(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet; labels are not looked at.")],
    out: OutOption,
    objectives: Annotated[
        str, typer.Option(help=f"One or several of {', '.join(_OBJECTIVES)} joined by commas, each as name or name=weight.")
    ] = "masked_image,masked_language,infonce",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Pairs told apart at once; more is better; 32.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    text_source: Annotated[str | None, typer.Option(help="Hugging Face text encoder to go on from: folder or hub name.")] = None,
    image_masked: Annotated[float, typer.Option(help="Share of patches of an image that are hidden.")] = 0.6,
    mask_patch: Annotated[int, typer.Option(min=1, help="Voxels along each axis of a patch.")] = 8,
    text_masked: Annotated[float, typer.Option(help="Share of tokens of a note that are hidden.")] = 0.15,
    config_file: ConfigOption = None,
    tracker: TrackerOption = None,
    settings: SettingsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Pretrain encoders on a cohort without labels; run the same command again to resume, `medmm train --init` to go on."""
    from medmm.training.config import config_from
    from medmm.training.pretrain import Aims
    from medmm.training.pretrain import pretrain as run_pretraining

    given = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "text_source": text_source, "tracker": tracker}
    config = config_from({"batch_size": 32} | choices_of(config_file, **given), settings or [])
    aims = Aims(_weights(objectives), image_masked, mask_patch, text_masked)
    with progress() as on_progress:
        result = run_pretraining(cohort, out, aims, config, device=device, on_progress=on_progress)
    if not result.best_epochs:
        typer.echo("This run was finished before; nothing was done.", err=True)
    else:
        typer.echo(f"Pretrained folder ready: {result.n_train} studies learned from, {result.n_val} held out.", err=True)
    exit_if_failed(len(result.failures))


def _weights(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            found[name] = float(weight or 1)
        except ValueError:
            msg = "Expected --objectives as names or name=weight joined by commas; a weight is no number."
            raise TaskError(msg) from None
    return found
