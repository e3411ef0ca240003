"""Every number of some results as one flat table, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medmm.results import Results, Value
from medmm.table import write_csv

_OF_VALUE = ("value", "low", "high", "better", "interval", "null_low", "null_high", "reason")
COLUMNS = ("part", "name", "metric", "n", "patients", *_OF_VALUE)


def write_metrics_csv(results: Results, path: Path) -> None:
    """A row a number: of the arms, the subgroups, and the paired differences.

    Args:
        results: Content of `metrics.json`.
        path: File to write; a spreadsheet takes none of its cells for a formula.
    """
    write_csv(path, COLUMNS, _rows(results))


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for arm in results.arms:
        who = {"part": "arm", "name": arm.name, "n": arm.n, "patients": arm.patients}
        yield from (_row(who, name, value) for name, value in arm.metrics.items())
    for g in results.groups:
        who = {"part": "group", "name": f"{g.column}={g.value}", "n": g.n, "patients": g.patients}
        if g.suppressed is not None:
            yield who | {"reason": g.suppressed}
        yield from (_row(who, name, value) for name, value in g.metrics.items())
    for t in results.tasks:
        for part, measured in (("task", t.metrics), ("task, trivial", t.trivial)):
            who = {"part": part, "name": t.name, "n": t.n, "patients": t.patients}
            yield from (_row(who, name, value) for name, value in measured.items())
    for c in results.comparisons:
        values = {"metric": c.metric, "n": c.n, "value": c.difference, "low": c.low, "high": c.high, "interval": c.test}
        yield {"part": "difference", "name": f"{c.first} minus {c.second}"} | values


def _row(who: dict[str, Any], metric: str, value: Value) -> dict[str, Any]:
    return who | {"metric": metric} | {name: getattr(value, name) for name in _OF_VALUE}
