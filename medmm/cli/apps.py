"""The command, its groups, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medmm.prediction import DISCLAIMER

app = typer.Typer(
    name="medmm", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help=f"A patient's imaging study and note in, one calibrated probability out. {DISCLAIMER}",
)  # fmt: skip
eval_app = typer.Typer(no_args_is_help=True, help="Measure predictions: ours or anybody's.")
cohort_app = typer.Typer(no_args_is_help=True, help="Cohort tables: what is wrong with them.")
models_app = typer.Typer(no_args_is_help=True, help="Models that ship with medmm.")
app.add_typer(eval_app, name="eval")
app.add_typer(cohort_app, name="cohort")
app.add_typer(models_app, name="models")

Device = Literal["auto", "cpu", "cuda", "mps"]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name of a shipped model, or a model folder.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto takes CUDA, else MPS, else the CPU.")]
AsrOption = Annotated[
    str | None, typer.Option("--asr", help="Hugging Face speech recogniser (folder or hub name) that writes the recording down.")
]
TaskOption = Annotated[
    Path | None, typer.Option("--task", help="Task file: its labels, tabular values and where labels come from.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", help='Any other choice that `medmm train --help` lists, e.g. modalities=["image"] or width=32.'),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML with choices of TrainConfig, e.g. best.yaml of medmm tune; options win.")
]
TrackerOption = Annotated[
    Literal["tensorboard", "mlflow", "trackio", "wandb", "none"] | None,
    typer.Option("--tracker", help="Where the numbers of each epoch are written; tensorboard when not stated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
WithoutLoginOption = Annotated[
    bool, typer.Option("--without-login", help="Let other machines in although MEDMM_USERS names nobody who must log in.")
]
