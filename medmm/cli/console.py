"""What commands say and how they end: JSON documents, one-line errors, exit codes, progress."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from medmm.errors import MedmmError
from medmm.types import OnProgress

INTERNAL = "E_INTERNAL"


def print_json(content: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def fail(code: str, message: str, status: int = 2) -> None:
    """End with one line on stderr."""
    typer.echo(f"{code}: {message}", err=True)
    sys.exit(status)


def unexpected(error: Exception) -> str:
    """What to say of an error nobody foresaw; its message could hold anything, so it is not shown."""
    if os.environ.get("MEDMM_DEBUG"):
        traceback.print_exception(error)
    return f"Unexpected {type(error).__name__}. Set MEDMM_DEBUG=1 to see where."


def exit_if_failed(failed: int) -> None:
    """End with status 3 if samples failed."""
    if failed:
        typer.echo(f"{failed} studies failed; their reasons are in the run folder.", err=True)
        raise typer.Exit(3)


@contextmanager
def errors_as_json(as_json: bool) -> Iterator[None]:
    """With `--json` an error is a JSON document too."""
    try:
        yield
    except MedmmError as error:
        if not as_json:
            raise
        print_json({"error": {"code": error.code, "message": error.message}})
        raise typer.Exit(2) from None
    except Exception as error:
        if not as_json or isinstance(error, typer.Exit):
            raise
        print_json({"error": {"code": INTERNAL, "message": unexpected(error)}})
        raise typer.Exit(1) from None


@contextmanager
def progress() -> Iterator[OnProgress]:
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
