"""`medmm eval` verbs that show what was measured; neither needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medmm.cli.apps import WithoutLoginOption, eval_app


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


@eval_app.command("view")
def eval_view(
    folder: Annotated[Path, typer.Argument(help="Folder with measured runs below it.")] = Path(),
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 7861,
    host: Annotated[str, typer.Option(help="Address to listen on; anything but this machine must be asked for.")] = "127.0.0.1",
    without_login: WithoutLoginOption = False,
) -> None:
    """Serve a page of the runs under a folder: filtered, side by side, down to the single sample."""
    from medmm.optional import require

    require("gradio", "The page of runs", "demo")
    from medmm.ui import serve_view

    serve_view(folder, host=host, port=port, without_login=without_login)
