"""The committed comparisons: table and figure are those of the numbers beside them, and the documents quote them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medmm.report.ablation import Ablation, draw_ablation, render_ablation

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "eval" / "results" / "ablations").glob("*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_table_and_the_figure_are_of_these_numbers(path: Path) -> None:
    found = Ablation.model_validate_json(path.read_text(encoding="utf-8"))
    assert path.with_suffix(".md").read_text(encoding="utf-8") == render_ablation(found)
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == draw_ablation(found)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_figure_brings_its_own_colours(path: Path) -> None:
    svg = path.with_suffix(".svg").read_text(encoding="utf-8")
    used, defined = set(re.findall(r"var\((--[\w-]+)\)", svg)), set(re.findall(r"(--[\w-]+):", svg))
    assert used
    assert used <= defined


@pytest.mark.parametrize(
    ("name", "row", "label"),
    [
        ("knight-columns", "tabular", "columns, network"),
        ("knight-columns", "text", "note, network"),
        ("knight-columns", "text+tabular, late", "note and columns, `late`"),
        ("knight-columns", "logistic regression, columns", "columns, logistic regression"),
        ("knight-columns", "best single column", "best single column"),
        ("knight-columns", "prevalence", "class frequencies"),
        ("knight-volumes", "tabular", "columns and volumes, network"),
        ("knight-volumes", "text+tabular, late", "note, columns and volumes, `late`"),
        ("knight-volumes", "logistic regression, columns", "columns and volumes, logistic regression"),
    ],
)
def test_the_document_quotes_the_committed_numbers(name: str, row: str, label: str) -> None:
    (path,) = (path for path in COMMITTED if path.stem == name)
    (found,) = (r for r in Ablation.model_validate_json(path.read_text(encoding="utf-8")).rows if r.name == row)
    cells = [found.metrics[metric] for metric in ("auroc", "f1[CanAT]", "brier")]
    quoted = " | ".join(f"{c.value:.3f} ({c.low:.3f} to {c.high:.3f})" for c in cells)
    assert f"| {label} | {quoted} |" in (ROOT / "eval" / "README.md").read_text(encoding="utf-8")
