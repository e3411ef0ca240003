"""`medmm measure`: what segmentations measure, as tabular values of a cohort."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import JsonOption, app
from medmm.cli.console import errors_as_json, print_json, progress
from medmm.errors import CohortError


@app.command()
def measure(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, with a column of masks.")],
    out: Annotated[Path, typer.Argument(help="Table to write, in the same folder.")],
    regions: Annotated[str, typer.Option(help="Name and number of each region in the masks, e.g. kidney=1,tumor=2.")],
    column: Annotated[str, typer.Option(help="Column with the paths of the masks, NIfTI.")] = "mask",
    as_json: JsonOption = False,
) -> None:
    """Add volume, pieces, diameter and shape of every region of the masks to a cohort, as columns."""
    with errors_as_json(as_json), progress() as on_progress:
        from medmm.measure import measure_cohort

        found = measure_cohort(cohort, out, _regions(regions), column=column, on_progress=on_progress)
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(f"{found.read} masks measured, {found.missing} studies without one; {len(found.columns)} columns added:")
        typer.echo("  " + ", ".join(found.columns))
    for code, count in sorted(found.failed.items()):
        typer.echo(f"{count} could not be read ({code}); their cells are empty", err=True)
    if found.failed:
        raise typer.Exit(3)


def _regions(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if not name.isidentifier() or not number.isdecimal() or int(number) == 0 or name in found:
            msg = "Expected regions as name=number joined by commas, numbers above 0, names of letters and digits, each once."
            raise CohortError(msg)
        found[name] = int(number)
    return found
