"""The `medmm` command. Names, `--json` and exit codes are a contract: scripts call them.

Exit codes: 0 done; 1 a check failed or something unexpected happened; 2 unusable input or
arguments; 3 finished, but some samples failed, each with its reason.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from medmm.errors import InputError, MedmmError, ModelError
from medmm.prediction import DISCLAIMER
from medmm.types import OnProgress

app = typer.Typer(
    name="medmm", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help=f"A patient's imaging study and note in, one calibrated probability out. {DISCLAIMER}",
)  # fmt: skip
eval_app = typer.Typer(no_args_is_help=True, help="Measure predictions: ours or anybody's.")
models_app = typer.Typer(no_args_is_help=True, help="Models that ship with medmm.")
app.add_typer(eval_app, name="eval")
app.add_typer(models_app, name="models")

_INTERNAL = "E_INTERNAL"

Device = Literal["auto", "cpu", "cuda", "mps"]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name of a shipped model, or a model folder.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto takes CUDA, else MPS, else the CPU.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


def main() -> None:
    """Run the command line; turns every error into one line and an exit code."""
    try:
        app(standalone_mode=True)
    except MedmmError as error:
        _fail(error.code, error.message)
    except Exception as error:
        _fail(_INTERNAL, _unexpected(error), status=1)


@app.command()
def demo(
    model: ModelOption = None,
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; anything but this machine must be asked for.")] = "127.0.0.1",
) -> None:
    """Serve the web page and print its address."""
    from medmm.optional import require

    require("gradio", "The web page", "demo")
    from medmm.ui import serve

    serve(model=model, host=host, port=port)


@app.command()
def predict(
    path: Annotated[Path | None, typer.Argument(help="DICOM folder, zip or file, NIfTI, PNG or JPEG; may be left out.")] = None,
    note: Annotated[str | None, typer.Option(help="Clinical text.")] = None,
    note_file: Annotated[Path | None, typer.Option(help="File with clinical text, UTF-8.")] = None,
    model: ModelOption = None,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID to read instead of the one the rule picks.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Answer for one study."""
    with _errors_as_json(as_json):
        if note is not None and note_file is not None:
            msg = "Expected --note or --note-file; got both. Give one."
            raise InputError(msg)
        from medmm.inference import load_model
        from medmm.sources import open_study
        from medmm.sources.cohort import read_text

        study = open_study(path, read_text(note_file) if note_file else note, series=series)
        prediction = load_model(model, device).predict(study)
    if as_json:
        _print_json(prediction.to_dict())
        return
    for label, p in prediction.answer.probabilities.items():
        typer.echo(f"{p:6.1%}  {label}{'  <- called' if label in prediction.answer.called else ''}")
    typer.echo(f"from {prediction.pattern}; calibrated: {'yes' if prediction.answer.calibrated else 'no'}")
    for notice in prediction.notices:
        typer.echo(f"{notice.code}: {notice.message}")
    typer.echo(DISCLAIMER)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Folder, zip or file.")],
    as_json: JsonOption = False,
) -> None:
    """Say what lies under a path, which series would be read, its geometry and doubts."""
    with _errors_as_json(as_json):
        from medmm.sources.inspection import inspect_path

        inspection = inspect_path(path)
    if as_json:
        _print_json(inspection.to_dict())
        return
    for found in inspection.found:
        typer.echo(f"{'->' if found.chosen else '  '} {found.description}{'  ' + found.uid if found.uid else ''}")
        if found.geometry:
            spacing = " x ".join(f"{s:g}" for s in found.geometry["spacing_mm"])
            typer.echo(f"     {found.geometry['plane']}, {' x '.join(map(str, found.geometry['shape']))} voxels of {spacing} mm")
        for code, message in (*found.warnings, *([(found.code, found.message)] if found.code else [])):
            typer.echo(f"     {code}: {message}")
    for reason, files in inspection.left_out:
        typer.echo(f"left out: {files} x {reason}")
    if inspection.code:
        typer.echo(f"{inspection.code}: {inspection.message}")
    elif len(inspection.found) > 1:
        typer.echo(f"chosen by the rule: {inspection.rule}")


@app.command()
def train(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet.")],
    out: OutOption,
    fusion: Annotated[str, typer.Option(help="Fusion layer: weighted, concat, cross_attention, or a plug-in's.")] = "concat",
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    text_source: Annotated[str | None, typer.Option(help="Hugging Face text encoder: folder or hub name.")] = None,
    folds: Annotated[str | None, typer.Option(help="Cross-validate: number of folds, or the column that names them.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Class names in order, joined by commas; the second of two is positive.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other choice of TrainConfig, as key=value.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a classifier on a cohort; run the same command again to resume."""
    from medmm.training import train as run_training
    from medmm.training.config import config_from

    given = {"fusion": fusion, "epochs": epochs, "seed": seed, "text_source": text_source}
    config = config_from(given, settings or [])
    with _progress() as on_progress:
        result = run_training(
            cohort, out, config, folds=int(folds) if folds and folds.isdigit() else folds,
            labels=tuple(labels.split(",")) if labels else None, device=device, on_progress=on_progress,
        )  # fmt: skip
    if result.best_epoch < 0:
        typer.echo("This run was finished before; nothing was done.", err=True)
    else:
        typer.echo(f"Model folder ready: {result.n_train} training and {result.n_val} validation studies.", err=True)
    _exit_if_failed(len(result.failures))


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    n: Annotated[int, typer.Option("--n", min=20, help="Patients.")] = 600,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    image_format: Annotated[Literal["dicom", "zip", "nifti"], typer.Option("--format")] = "dicom",
    matrix: Annotated[int, typer.Option(help="Pixels along each side of a slice.")] = 96,
    table: Annotated[str | None, typer.Option(help="P(positive | image, text) as p00,p01,p10,p11.")] = None,
) -> None:
    """Write a synthetic cohort whose true posterior is known."""
    from medmm.sources.phantom import make_phantom
    from medmm.sources.phantom.truth import Table

    law = Table.from_text(table) if table else Table()
    with _progress() as on_progress:
        make_phantom(
            out, n, seed=seed, table=law, image_format=image_format, matrix=matrix,
            on_progress=lambda done, total: on_progress("drawing patients", done, total),
        )  # fmt: skip


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

    with _progress() as on_progress:
        summary = run_evaluation(target, find_model(model), out, split=split, device=device, limit=limit, on_progress=on_progress)
    resumed = f" ({summary.resumed} from an earlier start)" if summary.resumed else ""
    typer.echo(f"{summary.total} studies predicted{resumed}, {summary.failed} failed.", err=True)
    _exit_if_failed(summary.failed)


@eval_app.command("score")
def eval_score(
    run: Annotated[Path | None, typer.Argument(help="Run folder of `medmm eval run`.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Anybody's predictions: CSV, Parquet or JSON Lines.")] = None,
    task: Annotated[Path | None, typer.Option(help="Task file; else the run's own, or the defaults.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json and report.html; else the run folder.")] = None,
    into_card: Annotated[Path | None, typer.Option(help="Model folder whose card and results these numbers become.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure predictions: metrics.json and report.html. Needs no torch."""
    with _errors_as_json(as_json):
        from medmm.evaluation.files import score_to_folder

        results = score_to_folder(run, predictions, task, out)
        if into_card is not None:
            from medmm.model_folder import attach_results

            attach_results(into_card, results)
    if as_json:
        typer.echo(results.to_json(), nl=False)
    else:
        _print_summary(results)
    _exit_if_failed(results.counts.failed)


@eval_app.command("schema")
def eval_schema() -> None:
    """Print the JSON schema of metrics.json."""
    from medmm.results import Results

    _print_json(Results.model_json_schema(by_alias=True, mode="serialization"))


@models_app.command("ls")
def models_ls(as_json: JsonOption = False) -> None:
    """List the shipped models."""
    from medmm.shelf import model_names

    names = model_names()
    if as_json:
        _print_json(names)
    else:
        typer.echo("\n".join(names))


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="Name of a shipped model, or a model folder.")]) -> None:
    """Print a model's card."""
    from medmm.shelf import find_model

    try:
        card = (find_model(name) / "card.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        msg = "Expected a model folder with a card.md; there is none that can be read."
        raise ModelError(msg) from None
    typer.echo(card)


def _print_summary(results: Any) -> None:
    from medmm.report.verdict import headline_metrics, number, verdict

    full = results.arms[0]
    for sentence in verdict(results):
        typer.echo(f"[{sentence.tone}] {sentence.text}")
    for arm in results.arms:
        cells = "  ".join(f"{name} {number(arm.metrics[name])}" for name in headline_metrics(full))
        typer.echo(f"{arm.name:>12}  {cells}")
    typer.echo(DISCLAIMER)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _fail(code: str, message: str, status: int = 2) -> None:
    typer.echo(f"{code}: {message}", err=True)
    sys.exit(status)


def _unexpected(error: Exception) -> str:
    if os.environ.get("MEDMM_DEBUG"):
        traceback.print_exception(error)
    return f"Unexpected {type(error).__name__}. Set MEDMM_DEBUG=1 to see where."


def _exit_if_failed(failed: int) -> None:
    if failed:
        typer.echo(f"{failed} studies failed; their reasons are in the run folder.", err=True)
        raise typer.Exit(3)


@contextmanager
def _errors_as_json(as_json: bool) -> Iterator[None]:
    """With `--json` an error is a JSON document too."""
    try:
        yield
    except MedmmError as error:
        if not as_json:
            raise
        _print_json({"error": {"code": error.code, "message": error.message}})
        raise typer.Exit(2) from None
    except Exception as error:
        if not as_json or isinstance(error, typer.Exit):
            raise
        _print_json({"error": {"code": _INTERNAL, "message": _unexpected(error)}})
        raise typer.Exit(1) from None


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar a step on stderr; nothing when stderr is not a terminal but one line a step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, total: typer.echo(f"{what}: {total} of {total}", err=True) if done == total else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield on_progress
