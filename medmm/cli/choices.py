"""Choices of a run: `medmm train --help` lists them all, a file of `--config` states some."""

from __future__ import annotations

from pathlib import Path
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


def choices_of(config_file: Path | None, **options: Any) -> dict[str, Any]:
    """Choices of a file, and of a task and options that were stated, which win."""
    from medmm.training.config import read_config

    return (read_config(config_file) if config_file else {}) | {name: v for name, v in options.items() if v is not None}
