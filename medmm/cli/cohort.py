"""`medmm cohort`: what is wrong with a cohort before anything is learned from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medmm.cli.apps import JsonOption, cohort_app
from medmm.cli.console import errors_as_json, print_json
from medmm.errors import CohortError

if TYPE_CHECKING:
    from medmm.leakage import Scan


@cohort_app.command("check")
def cohort_check(
    cohort: Annotated[Path, typer.Argument(help="Cohort table, CSV or Parquet.")],
    task: Annotated[Path | None, typer.Option(help="Task file: its labels and where they come from.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what gives the answer away: every word and column alone, contents under several patients; exit 1 if there is."""
    from medmm.evaluation.task import Task, read_task
    from medmm.leakage import scan_cases
    from medmm.sources.cohort import read_cohort

    with errors_as_json(as_json):
        asked = read_task(task) if task else Task.about("")
        table = read_cohort(cohort, labels=asked.labels or None, sections=asked.read_sections)
        if table.kind is None:
            msg = "Expected a label column, or label__<name> columns; the cohort has none. Nothing can be given away."
            raise CohortError(msg)
        sides = [case.split or "" for case in table.cases]
        scan = scan_cases(table.cases, sides, table.kind, table.labels, list(table.cases[0].columns))
    if as_json:
        print_json(scan.to_dict())
    else:
        print_scan(scan)
    if scan.suspicious:
        raise typer.Exit(1)


def print_scan(scan: Scan, *, err: bool = False) -> None:
    """Every line, marked when somebody should look."""
    for line in scan.lines:
        typer.echo(f"LEAKAGE? {line}" if scan.suspicious else line, err=err)
