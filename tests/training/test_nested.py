"""What the documents say of out-of-fold calibration is what was simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "eval" / "results" / "nested" / "regressions.json"
FOUND: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
WAYS = ("nested", "shared")


def document(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def span(patients: int, *ways: str, part: Literal["mean", "error"] = "mean") -> str:
    """Of the log-loss over all regressions of so many patients."""
    values = [row[way]["log_loss"][part] for row in FOUND["rows"] for way in ways if row["patients"] == patients]
    return " to ".join(dict.fromkeys((f"{min(values):.3f}", f"{max(values):.3f}")))


@pytest.mark.parametrize("row", FOUND["rows"], ids=lambda row: f"{row['patients']} {row['c']}")
def test_the_table_is_of_these_numbers(row: dict[str, Any]) -> None:
    numbers = [row[way][loss] for way in WAYS for loss in ("log_loss", "brier")]
    cells = " | ".join(f"{number['mean']:+.4f} ({number['error']:.4f})" for number in numbers)
    table = COMMITTED.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| {row['patients']} | {row['columns']} | {row['c']:g} | {cells} |" in table
    assert FOUND["command"] in table


def test_the_method_and_the_document_of_results_quote_them() -> None:
    assert (
        f"In {FOUND['simulations']} simulations regressions of 100 patients so seem to lose {span(100, 'shared')} nats more than "
        f"the finished model does on fresh patients, with `nested` {span(100, 'nested')} (standard errors "
        f"{span(100, *WAYS, part='error')}; of 300 patients {span(300, 'shared')} and {span(300, 'nested')};"
    ) in document("docs/method.md")
    assert (
        f"regressions with 300 patients that way overstates the log-loss of the finished model by {span(300, 'shared')}, "
        f"this one by {span(300, 'nested')} (standard errors {span(300, *WAYS, part='error')};"
    ) in document("eval/README.md")
