"""`medmm models`: what ships."""

from __future__ import annotations

from typing import Annotated

import typer

from medmm.cli.apps import JsonOption, models_app
from medmm.cli.console import print_json
from medmm.errors import ModelError


@models_app.command("ls")
def models_ls(as_json: JsonOption = False) -> None:
    """List the shipped models."""
    from medmm.shelf import model_names

    names = model_names()
    if as_json:
        print_json(names)
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
