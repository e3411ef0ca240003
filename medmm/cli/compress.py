"""`medmm compress`: a smaller model that answers as before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medmm.cli.apps import DeviceOption, JsonOption, app
from medmm.cli.console import errors_as_json, print_json, progress
from medmm.prediction import DISCLAIMER


@app.command()
def compress(
    model: Annotated[str, typer.Argument(help="Name of a shipped model, or a model folder.")],
    out: Annotated[Path, typer.Argument(help="New model folder.")],
    check: Annotated[Path, typer.Option(help="Cohort table; both models answer its studies, and must agree.")],
    split: Annotated[str | None, typer.Option(help="Side of the cohort; all of it without.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Large weights as 8-bit integers, linear layers computed so.")] = False,
    prune: Annotated[float, typer.Option(min=0, max=0.99, help="Share of each large weight to set to zero, the smallest.")] = 0.0,
    prune_by: Annotated[
        Literal["values", "rows"], typer.Option(help="What is small: values, or whole output channels.")
    ] = "values",
    stored: Annotated[Literal["float32", "float16", "bfloat16"], typer.Option(help="Precision of other weights.")] = "float32",
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Largest change of a probability; beyond it, no model.")] = 0.05,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Write a smaller model: quantised, pruned or in half precision; size, time and largest change are printed."""
    with errors_as_json(as_json), progress() as on_progress:
        from medmm.compression import compress as make_smaller
        from medmm.packed import Packing
        from medmm.shelf import find_model

        packing = Packing(int8, prune, prune_by, stored)
        found = make_smaller(
            find_model(model), out, packing, check, split=split, tolerance=tolerance, device=device, on_progress=on_progress
        )
    if as_json:
        print_json(found.to_dict())
        return
    before, after = found.bytes_before / 1e6, found.bytes_after / 1e6
    typer.echo(f"weights: {before:.2f} MB before, {after:.2f} MB after ({after / before:.2f} of it)")
    typer.echo(f"network time per study: {found.time_ratio:.2f} of what it was; {found.int8_layers} layers in 8 bits")
    typer.echo(
        f"largest change of a probability: {found.largest_change:.4f}; {found.changed_calls} decisions changed "
        f"({found.studies} studies, {found.failed} unreadable)"
    )
    typer.echo(f"Calibration and thresholds are kept; measure it again: medmm eval run. {DISCLAIMER}")
