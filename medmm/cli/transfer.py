"""What pretrained encoders answer without fine-tuning: `medmm zeroshot`, `medmm fewshot`, `medmm eval retrieval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medmm.cli.apps import DeviceOption, JsonOption, app, eval_app
from medmm.cli.console import exit_if_failed, print_json, progress
from medmm.prediction import DISCLAIMER

CohortArgument = Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet.")]
PretrainedOption = Annotated[Path, typer.Option("--model", help="Folder of `medmm pretrain`.")]
PredictionsOption = Annotated[Path, typer.Option("--out", help="Predictions file to write, for `medmm eval score --predictions`.")]
SplitOption = Annotated[str, typer.Option(help="Side of the cohort that is answered.")]
LabelsOption = Annotated[str | None, typer.Option(help="Class names in order, joined by commas; the second of two is positive.")]


@app.command()
def zeroshot(
    cohort: CohortArgument,
    model: PretrainedOption,
    prompts: Annotated[Path, typer.Option(help="Prompt set: YAML with several sentences for each label.")],
    out: PredictionsOption,
    labels: LabelsOption = None,
    split: SplitOption = "test",
    device: DeviceOption = "auto",
) -> None:
    """Answer from images and prompts alone, with encoders that were pretrained to match images and notes."""
    from medmm.device import choose_device
    from medmm.evaluation.transfer import read_prompts, zero_shot
    from medmm.pretrained.folder import load_pretrained
    from medmm.sources.cohort import read_cohort

    table, asked = read_cohort(cohort, labels=_listed(labels)), read_prompts(prompts)
    with progress() as on_progress:
        failed = zero_shot(table, asked, load_pretrained(model, choose_device(device)), out, split=split, on_progress=on_progress)
    typer.echo(f"Predictions written, not calibrated. {DISCLAIMER}", err=True)
    exit_if_failed(failed, "predictions")


@app.command()
def fewshot(
    cohort: CohortArgument,
    model: PretrainedOption,
    out: PredictionsOption,
    shots: Annotated[int, typer.Option(min=1, help="Labelled studies of each class, drawn from train.")] = 8,
    method: Annotated[Literal["probe", "prototype"], typer.Option(help="Logistic regression, or nearest class mean.")] = "probe",
    modality: Annotated[Literal["image", "text"], typer.Option(help="Which encoder is asked.")] = "image",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    labels: LabelsOption = None,
    split: SplitOption = "test",
    device: DeviceOption = "auto",
) -> None:
    """Answer from a few labelled studies and frozen pretrained encoders."""
    from medmm.device import choose_device
    from medmm.evaluation.transfer import few_shot
    from medmm.pretrained.folder import load_pretrained
    from medmm.sources.cohort import read_cohort

    table = read_cohort(cohort, labels=_listed(labels))
    with progress() as on_progress:
        failed = few_shot(
            table, load_pretrained(model, choose_device(device)), out, shots=shots, method=method, modality=modality, seed=seed,
            split=split, on_progress=on_progress,
        )  # fmt: skip
    typer.echo(f"Predictions written, not calibrated. {DISCLAIMER}", err=True)
    exit_if_failed(failed, "predictions")


@eval_app.command("retrieval")
def eval_retrieval(
    cohort: CohortArgument,
    model: PretrainedOption,
    out: Annotated[Path | None, typer.Option("--out", help="File to write the numbers to, as JSON.")] = None,
    split: SplitOption = "test",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how often an image finds its note, and a note its image, among all of a side: recall@1, 5 and 10."""
    from medmm.device import choose_device
    from medmm.disk import replace_bytes
    from medmm.evaluation.retrieval import measure_retrieval
    from medmm.pretrained.folder import load_pretrained
    from medmm.sources.cohort import read_cohort

    with progress() as on_progress:
        pretrained = load_pretrained(model, choose_device(device))
        found = measure_retrieval(read_cohort(cohort), pretrained, split=split, seed=seed, on_progress=on_progress)
    if out is not None:
        replace_bytes(out, (found.model_dump_json(indent=2) + "\n").encode())
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        for row in found.recall:
            interval = f" [{row.low:.3f}, {row.high:.3f}]" if row.low is not None else ""
            typer.echo(f"{row.direction}  recall@{row.k:<3} {row.value:.3f}{interval}  chance {row.chance:.3f}")
        typer.echo(f"{found.n} pairs of {found.patients} patients. {DISCLAIMER}")
    exit_if_failed(found.failed)


def _listed(labels: str | None) -> tuple[str, ...] | None:
    return tuple(labels.split(",")) if labels else None
