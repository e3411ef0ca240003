"""`medmm eval` verbs that show what was measured; none of them needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import eval_app


@eval_app.command("report")
def eval_report(
    run: Annotated[Path, typer.Argument(help="Run folder with metrics.json or comparison.json, or one of these files.")],
    formats: Annotated[str, typer.Option("--format", help="Of html, md, csv, card, junit, joined by commas.")] = "html",
    out: Annotated[Path | None, typer.Option(help="Folder to write; else where the results lie.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Cohort table: the page then shows the studies that were most confidently wrong.")
    ] = None,
) -> None:
    """Write measured results as a page, Markdown, a table, a model card's block, or JUnit."""
    from medmm.evaluation.publish import publish

    for path in publish(run, formats.split(","), out, images):
        typer.echo(f"{path.name} written.", err=True)
