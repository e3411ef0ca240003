"""The README says what is true: its tree is the tree, its numbers are the committed ones, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medmm.results import Results, Value
from medmm.sources.phantom.truth import Table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENTRIES = {"app.py", "eval", "tests", "docs", "Makefile", "constraints.txt", "pyproject.toml", "medmm", ".ci"}


def tree() -> list[str]:
    """First word of every line of the annotated tree."""
    block = README.split("## The tree")[1].split("```")[1]
    return [line.split()[0].rstrip("/") for line in block.splitlines() if line.strip()]


def test_the_tree_names_every_part_of_the_package() -> None:
    parts = {p.name for p in (ROOT / "medmm").iterdir() if not p.name.startswith("__")}
    assert parts <= set(tree())


def test_the_tree_names_nothing_that_is_not_there() -> None:
    names = {p.name for p in ROOT.iterdir()} | {p.name for p in (ROOT / "medmm").iterdir()}
    assert set(tree()) <= names
    assert set(tree()) >= ENTRIES


def cell(value: Value) -> str:
    assert value.value is not None
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]" if value.low is not None else f"{value.value:.2f}"


@pytest.mark.parametrize("model", ["sts51", "phantom"])
def test_the_numbers_are_the_committed_ones(model: str) -> None:
    (file,) = (ROOT / "eval" / "results" / model).glob("*/*.json")
    results = Results.model_validate_json(file.read_text(encoding="utf-8"))
    for arm in results.arms:
        m = arm.metrics
        row = f"| {arm.name} | {cell(m['auroc'])} | {cell(m['f1_macro'])} | {cell(m['brier'])} | {cell(m['log_loss'])} |"
        assert row in README, row


def test_the_best_possible_is_what_the_law_of_the_phantom_allows() -> None:
    best = Table().limits(frozenset(("image", "text")))
    row = " | ".join(f"{best[name]:.2f}" for name in ("auroc", "f1_macro", "brier", "log_loss"))
    assert f"| best possible | {row} |" in README


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [t for t in targets if not t.startswith("http")]
    assert local
    assert [t for t in local if not (ROOT / t).exists()] == []
