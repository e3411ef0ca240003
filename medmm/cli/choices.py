"""`medmm train --help` also lists every choice of a run."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand


class WithChoices(TyperCommand):
    """A command whose help ends with every key of `TrainConfig`; this alone waits for torch."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the choices."""
        super().format_help(ctx, formatter)
        try:
            from medmm.training.grid import render
        except ImportError:
            typer.echo("Every choice is listed here once 'medmm[model]' is installed.")
            return
        typer.echo(render())
