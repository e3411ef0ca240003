"""What commands say and how they end: JSON documents, one-line errors, exit codes, progress."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
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


def exit_if_failed(failed: int, where: str = "run folder") -> None:
    """End with status 3 if samples failed; their reasons are where it says."""
    if failed:
        typer.echo(f"{failed} studies failed; their reasons are in the {where}.", err=True)
        raise typer.Exit(3)


@contextmanager
def spoken_once() -> Iterator[None]:
    """Of processes that train together (`RANK` is which) the first speaks, and tells by its status that samples failed.

    The others are silent and end with status 0 where that is all that failed: a launcher ends the first when another ends
    with an error, and the first may still be writing. Errors leave the block, to be said by each.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or os.environ.get("RANK") == "0":
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere), suppress(typer.Exit):  # noqa: PTH123
        yield


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


@dataclass
class Stop:
    """Set `event` to end a long command; `signal` is the one that asked for it."""

    event: threading.Event
    signal: int = 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM ask for a clean end inside the block; a second one ends at once."""
    stop = Stop(threading.Event())

    def ask(number: int, _: Any) -> None:
        stop.signal = number
        stop.event.set()
        signal.signal(number, before[signal.Signals(number)])
        typer.echo("Stopping after the study at hand; once more stops at once.", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress() -> Iterator[OnProgress]:
    """A bar a step on stderr, or, when stderr is not a terminal, a line now and then; with rate and time left."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        lines = ProgressLines(lambda line: typer.echo(line, err=True))
        yield lines
        return
    with _bars(console) as bars:
        tasks: dict[str, Any] = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done)  # what an earlier start did is no speed
            bars.update(tasks[what], completed=done, total=total)

        yield on_progress


class ProgressLines:
    """Progress for log files: a line a step every half minute and at its end.

    Args:
        write: Told each line.
        clock: Seconds.
        every: Seconds between lines.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic, every: float = 30.0) -> None:
        self._write, self._clock, self._every = write, clock, every
        self._begun: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say it, if it is time to."""
        now = self._clock()
        start, earlier = self._begun.setdefault(what, (now, done))
        if done == total:
            self._write(f"{what}: {total} of {total}")
        elif now - self._said.setdefault(what, now) >= self._every and done > earlier:
            self._said[what] = now
            rate = (done - earlier) / (now - start)
            left = timedelta(seconds=round((total - done) / rate))
            self._write(f"{what}: {done} of {total}, {rate:.3g} a second, {left} left")


def _bars(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    class Rate(TextColumn):
        def render(self, task: Any) -> Any:
            from rich.text import Text

            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    return Progress(*columns, console=console)


@contextmanager
def phases() -> Iterator[Callable[[str], None]]:
    """On stderr each phase of some work as it ends, with its seconds."""
    running: list[tuple[str, float]] = []

    def end() -> None:
        if running:
            name, start = running.pop()
            typer.echo(f"{name}: {time.perf_counter() - start:.1f} s", err=True)

    def begin(name: str) -> None:
        end()
        running.append((name, time.perf_counter()))

    yield begin
    end()
