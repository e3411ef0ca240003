"""Commands about studies: page, prediction, inspection, training, phantoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from medmm.cli.apps import (
    AsrOption,
    ConfigOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OutOption,
    SettingsOption,
    TaskOption,
    TrackerOption,
    WithoutLoginOption,
    app,
)
from medmm.cli.choices import WithChoices, choices_of
from medmm.cli.console import errors_as_json, exit_if_failed, print_json, progress, spoken_once
from medmm.cli.dictation import dictated
from medmm.errors import CohortError, InputError
from medmm.prediction import DISCLAIMER, Answer

if TYPE_CHECKING:
    from medmm.sources.inspection import Found
    from medmm.training.run import RunResult

RepairOption = Annotated[
    list[str] | None,
    typer.Option("--repair", help="Mend a DICOM series: fill, resample, deskew or force; may be given more than once."),
]


@app.command()
def demo(
    model: ModelOption = None,
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; anything but this machine must be asked for.")] = "127.0.0.1",
    without_login: WithoutLoginOption = False,
    mcp: Annotated[bool, typer.Option("--mcp", help="Also be an MCP server, at /gradio_api/mcp/.")] = False,
    openapi: Annotated[bool, typer.Option("--openapi", help="Also describe its endpoints, at /gradio_api/openapi.json.")] = False,
) -> None:
    """Serve the web page and print its address."""
    from medmm.optional import require

    require("gradio", "The web page", "demo")
    from medmm.ui import serve

    serve(model=model, host=host, port=port, without_login=without_login, mcp=mcp, openapi=openapi)


@app.command()
def predict(
    images: Annotated[
        list[Path] | None, typer.Argument(help="DICOM folder, zip or file, NIfTI, PNG or JPEG; none, one or several of a study.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Clinical text.")] = None,
    note_file: Annotated[Path | None, typer.Option(help="File with clinical text.")] = None,
    audio: Annotated[Path | None, typer.Option(help="WAV or FLAC; no shipped model reads it yet.")] = None,
    asr: AsrOption = None,
    value: Annotated[list[str] | None, typer.Option(help="Tabular value as name=3.1; may be repeated.")] = None,
    values: Annotated[Path | None, typer.Option(help="Tabular values: a JSON object, or a table of one row.")] = None,
    model: ModelOption = None,
    series: Annotated[
        list[str] | None,
        typer.Option(help="SeriesInstanceUID or number in inspect, or '' for the rule's choice; of several images one each."),
    ] = None,
    repair: RepairOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    show_text: Annotated[bool, typer.Option("--show-text", help="Also say the part of the note that the model read.")] = False,
) -> None:
    """Answer for one study."""
    with errors_as_json(as_json):
        if note is not None and note_file is not None:
            msg = "Expected --note or --note-file; got both. Give one."
            raise InputError(msg)
        from medmm.cli.values import given_values
        from medmm.inference import load_model
        from medmm.sources.opener import open_study
        from medmm.sources.text import read_note

        written = read_note(note_file) if note_file else note
        (first, name), *others = _with_series(images or [], series or [])
        study = open_study(first, written, series=name, repair=repair or (), audio=audio)
        for image, another in others:
            study = study.with_images(open_study(image, series=another, repair=repair or ()))
        if asr is not None:
            study = study.with_note(dictated(study, asr, device))
        predictor = load_model(model, device)
        study = replace(study, values=given_values(predictor.folder.preprocessor.tabular, value or (), values))
        prediction = predictor.predict(study)
    if as_json:
        print_json(prediction.to_dict(with_text=show_text))
        return
    for label, p in prediction.answer.probabilities.items():
        typer.echo(f"{p:6.1%}  {label}{'  <- called' if label in prediction.answer.called else ''}")
    typer.echo(f"from {prediction.pattern}; calibrated: {'yes' if prediction.answer.calibrated else 'no'}")
    if prediction.members:
        _say_members(prediction.members)
    for notice in prediction.notices:
        typer.echo(f"{notice.code}: {notice.message}")
    if show_text and prediction.text_used is not None:
        typer.echo(f"read of the note: {prediction.text_used}")
    typer.echo(DISCLAIMER)


def _say_members(members: Sequence[Answer]) -> None:
    """How far the networks of a model disagree about the study."""
    said = {label: [member.probabilities[label] for member in members] for label in members[0].probabilities}
    ranges = ", ".join(f"{label} {min(p):.1%} to {max(p):.1%}" for label, p in said.items())
    typer.echo(f"{len(members)} networks that differ only in their random start (no confidence interval): {ranges}")


def _with_series(images: list[Path], series: list[str]) -> list[tuple[Path | None, str | None]]:
    """Each image with the series to read of it; of no image the rule's choice."""
    if series and len(series) != len(images):
        msg = f"Expected --series once for each image, in their order; got {len(series)} for {len(images)}."
        raise InputError(msg)
    if not images:
        return [(None, None)]
    return [(image, name or None) for image, name in zip(images, series or [""] * len(images), strict=True)]


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Folder, zip, DICOMDIR or file.")],
    repair: RepairOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what lies under a path, which series would be read, its geometry and doubts."""
    with errors_as_json(as_json):
        from medmm.sources.inspection import inspect_path

        inspection = inspect_path(path, repair or ())
        identifiers = _identifiers(path)
    if as_json:
        print_json({**inspection.to_dict(), "identifiers": identifiers})
        return
    for found in inspection.found:
        _print_found(found)
    for other in inspection.others:
        typer.echo(f"   {other.files} x {other.kind}{'  ' + other.uid if other.uid else ''}")
    for reason, files in inspection.left_out:
        typer.echo(f"left out: {files} x {reason}")
    if inspection.code:
        typer.echo(f"{inspection.code}: {inspection.message}")
    elif len(inspection.found) > 1:
        typer.echo(f"chosen by the rule: {inspection.rule}")
    kinds = sorted({f["kind"] for f in identifiers or ()})
    typer.echo(f"identifiers in headers: {', '.join(kinds) or ('none found' if identifiers is not None else 'not readable')}")


def _identifiers(path: Path) -> list[dict[str, Any]] | None:
    """Kinds of identifiers in DICOM headers; None if one cannot be read."""
    from medmm.sources.privacy import check_phi

    try:
        return [finding.to_dict() for finding in check_phi(path)]
    except InputError:
        return None


def _print_found(found: Found) -> None:
    named = f"  {found.number} or {found.name}" if found.number else ""
    typer.echo(f"{'->' if found.chosen else '  '} {found.description}{named}")
    about = [found.kind, found.values, found.transfer_syntax, "lossy" if found.lossy else ""]
    typer.echo(f"     {', '.join(word for word in about if word)}")
    if found.geometry:
        spacing = " x ".join(f"{s:g}" for s in found.geometry["spacing_mm"])
        typer.echo(f"     {found.geometry['plane']}, {' x '.join(map(str, found.geometry['shape']))} voxels of {spacing} mm")
    elif found.distances_mm:
        near, usual, far = (f"{d:g}" for d in found.distances_mm)
        typer.echo(f"     {near} to {far} mm apart, usually {usual}; {found.missing} missing; tilt {found.tilt_degrees:g} degrees")
    for code, message in (*found.warnings, *([(found.code, found.message)] if found.code else [])):
        typer.echo(f"     {code}: {message}")


# Written out, because help must not wait for torch.
_FUSIONS = (
    "attention", "concat", "cross_attention", "gated", "late", "lowrank", "product_of_experts", "projection", "transformer",
    "weighted", "weighted_per_class",
)  # fmt: skip


@app.command(cls=WithChoices)
@spoken_once()
def train(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet.")],
    out: OutOption,
    fusion: Annotated[str | None, typer.Option(help=f"Fusion layer: {', '.join(_FUSIONS)}, or a plug-in's.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    text_source: Annotated[str | None, typer.Option(help="Hugging Face text encoder: folder or hub name.")] = None,
    init: Annotated[str | None, typer.Option(help="Folder of `medmm pretrain` whose encoders it starts from.")] = None,
    folds: Annotated[str | None, typer.Option(help="Cross-validate: number of folds, or the column that names them.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Class names in order, joined by commas; the second of two is positive.")
    ] = None,
    task: TaskOption = None,
    config_file: ConfigOption = None,
    tracker: TrackerOption = None,
    settings: SettingsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a classifier on a cohort; run the same command again to resume."""
    from medmm.cli.cohort import print_scan
    from medmm.evaluation.task import Task, read_task
    from medmm.training import train as run_training
    from medmm.training.config import config_from

    asked = read_task(task) if task else Task.about("")
    options = {"fusion": fusion, "epochs": epochs, "seed": seed, "text_source": text_source, "init": init, "tracker": tracker}
    config = config_from(choices_of(config_file, **asked.training_choices, **options), settings or [])
    with progress() as on_progress:
        result = run_training(
            cohort, out, config, folds=int(folds) if folds and folds.isdigit() else folds,
            labels=tuple(labels.split(",")) if labels else asked.labels or None, device=device, on_progress=on_progress,
            on_scan=lambda scan: print_scan(scan, err=True),
        )  # fmt: skip
    say_trained(result)
    exit_if_failed(len(result.failures))


def say_trained(result: RunResult) -> None:
    """Say what a training run came to."""
    if not result.best_epochs:
        typer.echo("This run was finished before; nothing was done.", err=True)
    else:
        typer.echo(f"Model folder ready: {result.n_train} training and {result.n_val} validation studies.", err=True)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    n: Annotated[int, typer.Option("--n", min=20, help="Patients.")] = 600,
    kind: Annotated[
        Literal["chest", "pictures"], typer.Option(help="CT of the chest, two classes; or pictures of lesions, five classes.")
    ] = "chest",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    image_format: Annotated[
        Literal["dicom", "zip", "nifti"] | None, typer.Option("--format", help="Of chests; dicom by default.")
    ] = None,
    matrix: Annotated[int, typer.Option(help="Pixels along each side of a slice or picture.")] = 96,
    table: Annotated[str | None, typer.Option(help="Of chests: P(positive | image, text) as p00,p01,p10,p11.")] = None,
    dictate: Annotated[
        Literal["wav", "flac"] | None, typer.Option(help="Chests: also have the notes spoken (column audio); needs espeak-ng.")
    ] = None,
) -> None:
    """Write a synthetic cohort whose true posterior is known."""
    from medmm.sources.phantom import make_phantom
    from medmm.sources.phantom.pictures import make_pictures
    from medmm.sources.phantom.truth import Table

    if kind == "pictures" and (image_format or table or dictate):
        msg = "Expected --kind pictures without --format, --table and --dictate, which are of chests; leave them out."
        raise CohortError(msg)
    with progress() as on_progress:

        def told(done: int, total: int) -> None:
            on_progress("drawing patients", done, total)

        if kind == "pictures":
            make_pictures(out, n, seed=seed, side=matrix, on_progress=told)
            return
        make_phantom(
            out, n, seed=seed, table=Table.from_text(table) if table else None, image_format=image_format or "dicom",
            matrix=matrix, dictate=dictate, on_progress=told,
        )  # fmt: skip
